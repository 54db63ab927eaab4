-- migrate:up
CREATE TABLE latest_quotes__v1 (
    _r bigint NOT NULL,
    _i bigint NOT NULL,
    _n bigint NOT NULL,
    symbol text NOT NULL,
    venue text NOT NULL,
    ts_event bigint,  -- ns UTC, null if not given
    ts_recv bigint NOT NULL,  -- ns UTC
    update_id numeric(20) NOT NULL,
    bid_price numeric(38, 18) NOT NULL,
    bid_quantity numeric(38, 18) NOT NULL,
    ask_price numeric(38, 18) NOT NULL,
    ask_quantity numeric(38, 18) NOT NULL,
    flags integer NOT NULL,
    PRIMARY KEY (symbol, venue)
);

-- migrate:down
DROP TABLE latest_quotes__v1;
