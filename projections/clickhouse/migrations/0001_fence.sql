-- migrate:up
CREATE TABLE IF NOT EXISTS fence (
    t String,
    epoch UInt64
)
ENGINE = ReplacingMergeTree(epoch)
ORDER BY t
SETTINGS fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- migrate:down
DROP TABLE IF EXISTS fence;
