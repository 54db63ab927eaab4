-- migrate:up
CREATE TABLE latest_prices__v1 (
    _r bigint NOT NULL,
    _i bigint NOT NULL,
    _n bigint NOT NULL,
    pair text NOT NULL,
    "window" text NOT NULL,
    ts bigint NOT NULL,  -- ns UTC
    volume numeric(38, 18) NOT NULL,
    quote_volume numeric(38, 18) NOT NULL,
    last_price_sum numeric(38, 18) NOT NULL,
    high_price numeric(38, 18) NOT NULL,
    low_price numeric(38, 18) NOT NULL,
    best_bid numeric(38, 18) NOT NULL,
    best_bid_quantity numeric(38, 18) NOT NULL,
    best_ask numeric(38, 18) NOT NULL,
    best_ask_quantity numeric(38, 18) NOT NULL,
    high_venue text NOT NULL,
    low_venue text NOT NULL,
    best_bid_venue text NOT NULL,
    best_ask_venue text NOT NULL,
    venues smallint NOT NULL,
    flags integer NOT NULL,
    PRIMARY KEY (pair, "window")
);

-- migrate:down
DROP TABLE latest_prices__v1;
