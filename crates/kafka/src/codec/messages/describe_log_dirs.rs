//! DescribeLogDirs: what partitions take on disk. Source: KIP-113, KIP-827.

use crate::codec::message::message;

message! {
    DescribeLogDirsRequest {
        // Null is all.
        topics: Option<Vec<DescribableLogDirTopic>> [..];
    }
    DescribableLogDirTopic {
        topic: String [..];
        partitions: Vec<i32> [..];
    }
    DescribeLogDirsResponse {
        throttle_time_ms: i32 [..];
        error_code: i16 [3..];
        results: Vec<DescribeLogDirsResult> [..];
    }
    DescribeLogDirsResult {
        error_code: i16 [..];
        log_dir: String [..];
        topics: Vec<DescribeLogDirsTopic> [..];
        total_bytes: i64 [4..] = -1;
        usable_bytes: i64 [4..] = -1;
    }
    DescribeLogDirsTopic {
        name: String [..];
        partitions: Vec<DescribeLogDirsPartition> [..];
    }
    DescribeLogDirsPartition {
        partition_index: i32 [..];
        partition_size: i64 [..];
        offset_lag: i64 [..];
        is_future_key: bool [..];
    }
}
