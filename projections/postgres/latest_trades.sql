-- migrate:up
CREATE TABLE latest_trades__v1 (
    _r bigint NOT NULL,
    _i bigint NOT NULL,
    _n bigint NOT NULL,
    symbol text NOT NULL,
    venue text NOT NULL,
    ts_event bigint NOT NULL,  -- ns UTC
    ts_recv bigint NOT NULL,  -- ns UTC
    trade_id numeric(20) NOT NULL,
    price numeric(38, 18) NOT NULL,
    quantity numeric(38, 18) NOT NULL,
    aggressor_side text NOT NULL,
    flags integer NOT NULL,
    PRIMARY KEY (symbol, venue)
);

-- migrate:down
DROP TABLE latest_trades__v1;
