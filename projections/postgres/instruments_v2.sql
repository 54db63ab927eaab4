-- migrate:up
CREATE TABLE instruments__v2 (
    _r bigint NOT NULL,
    _i bigint NOT NULL,
    _n bigint NOT NULL,
    symbol text NOT NULL,
    venue text NOT NULL,
    product text NOT NULL,
    base text NOT NULL,
    quote text NOT NULL,
    status text NOT NULL,
    price_exponent smallint NOT NULL,
    quantity_exponent smallint NOT NULL,
    tick_size numeric(38, 18) NOT NULL,
    lot_size numeric(38, 18) NOT NULL,
    min_notional numeric(38, 18) NOT NULL,
    ts_event bigint NOT NULL,  -- ns UTC
    source text NOT NULL,
    kind text NOT NULL,
    settle text NOT NULL,  -- empty where there is none
    inverse smallint NOT NULL,  -- 1: a quantity of 1 is contract_multiplier units of quote
    raw_symbol text NOT NULL,  -- the venue's own name; empty where it is symbol
    contract_multiplier numeric(38, 18) NOT NULL,
    funding_interval_s bigint NOT NULL,  -- 0 where nothing is paid
    ts_listed bigint NOT NULL,  -- ns UTC, 0 if not known
    ts_expires bigint NOT NULL,  -- ns UTC, 0 if never
    r_to bigint NOT NULL,  -- 9223372036854775807 while it is valid
    PRIMARY KEY (_r, _i, _n)
);
CREATE UNIQUE INDEX instruments__v2_now ON instruments__v2 (symbol, venue) WHERE r_to = 9223372036854775807;

-- migrate:down
DROP TABLE instruments__v2;
