//! DescribeLogDirs: what partitions take on disk. There is one directory. Source: KIP-113, KIP-827.

use duolog_broker::{Action, Topic};

use super::lookup::{self, topic_named};
use super::{Client, blocking};
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};

pub(super) async fn handle(
    client: &Client,
    _: &RequestHeader,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    if !client.session.may(Action::Describe, "*") {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return DescribeLogDirsResponse { error_code, ..Default::default() };
    }
    let catalog = client.session.catalog();
    let topics = match request.topics {
        None => lookup::topics(&catalog).map(|topic| of_topic(client, topic, 0..i32::MAX)).collect(),
        // What does not exist is left out, as Kafka does.
        Some(asked) => asked
            .into_iter()
            .filter_map(|asked| {
                Some(of_topic(client, topic_named(&catalog, &asked.topic)?, asked.partitions))
            })
            .collect(),
    };
    let session = client.session.clone();
    let volume = blocking(move || session.volume()).await;
    let told = |bytes: Option<u64>| bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let directory = DescribeLogDirsResult {
        log_dir: client.options.data_dir.clone(),
        topics,
        total_bytes: told(volume.map(|it| it.total_bytes)),
        usable_bytes: told(volume.map(|it| it.usable_bytes)),
        ..Default::default()
    };
    DescribeLogDirsResponse { results: vec![directory], ..Default::default() }
}

fn of_topic(client: &Client, topic: &Topic, indexes: impl IntoIterator<Item = i32>) -> DescribeLogDirsTopic {
    let of_partition = |index: i32| {
        let partition = lookup::partition(topic, index).ok()?;
        let bytes = client.session.partition_bytes(partition);
        Some(DescribeLogDirsPartition {
            partition_index: index,
            partition_size: i64::try_from(bytes).unwrap_or(i64::MAX),
            offset_lag: 0,
            is_future_key: false,
        })
    };
    let partitions = indexes.into_iter().take(topic.partitions.len()).filter_map(of_partition).collect();
    DescribeLogDirsTopic { name: topic.name.clone(), partitions }
}
