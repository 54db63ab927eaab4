-- migrate:up
CREATE TABLE latest_bars__v1 (
    _r bigint NOT NULL,
    _i bigint NOT NULL,
    _n bigint NOT NULL,
    symbol text NOT NULL,
    venue text NOT NULL,
    interval_s bigint NOT NULL,
    ts_open bigint NOT NULL,  -- ns UTC
    revision bigint NOT NULL,
    open numeric(38, 18) NOT NULL,
    high numeric(38, 18) NOT NULL,
    low numeric(38, 18) NOT NULL,
    close numeric(38, 18) NOT NULL,
    volume numeric(38, 18) NOT NULL,
    quote_volume numeric(38, 18) NOT NULL,
    taker_buy_volume numeric(38, 18) NOT NULL,
    trade_count numeric(20) NOT NULL,
    first_trade_id numeric(20) NOT NULL,
    last_trade_id numeric(20) NOT NULL,
    flags integer NOT NULL,
    PRIMARY KEY (symbol, venue, interval_s)
);

-- migrate:down
DROP TABLE latest_bars__v1;
