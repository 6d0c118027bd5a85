//! ListOffsets: ends and times.

use duolog_kafka::ErrorCode;
use duolog_kafka::codec::messages::*;

use crate::common::{NOON, Server, batch};

fn ask(topic: &str, partition_index: i32, timestamp: i64) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition { partition_index, current_leader_epoch: -1, timestamp };
    let topic = ListOffsetsTopic { name: topic.to_owned(), partitions: vec![partition] };
    ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() }
}

#[tokio::test]
async fn ends_and_times_are_found_at_every_version() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[]).await;
    client.create("empty", 1, &[]).await;
    client.produce("t", 0, batch(&[b"0", b"1", b"2"])).await;
    client.produce("t", 0, batch(&[b"3"])).await;
    // Timestamp asked for, since which version; code, offset, timestamp.
    let unsupported = ErrorCode::UnsupportedVersion.code();
    let table = [
        (-1, 1, 0, 4, -1),
        (-2, 1, 0, 0, -1),
        (-3, 7, 0, 2, NOON + 2),
        (-4, 8, 0, 0, -1),
        (-5, 9, 0, -1, -1),
        (-6, 11, 0, -1, -1),
        (-7, 1, unsupported, -1, -1),
        (0, 1, 0, 0, NOON),
        (NOON + 1, 1, 0, 1, NOON + 1),
        (NOON + 2, 1, 0, 2, NOON + 2),
        (NOON + 3, 1, 0, -1, -1),
    ];
    for version in 1..=11 {
        for (timestamp, since, code, offset, found_at) in table {
            let (code, offset, found_at) =
                if version < since { (unsupported, -1, -1) } else { (code, offset, found_at) };
            let response = client.ask(version, &ask("t", 0, timestamp)).await;
            let found = &response.topics[0].partitions[0];
            let got = (found.error_code, found.offset, found.timestamp);
            assert_eq!(got, (code, offset, found_at), "v{version}, {timestamp}");
        }
    }
    for timestamp in [-3, 0, NOON] {
        let response = client.ask(8, &ask("empty", 0, timestamp)).await;
        let found = &response.topics[0].partitions[0];
        assert_eq!((found.error_code, found.offset, found.timestamp), (0, -1, -1));
    }
    server.stop().await;
}

#[tokio::test]
async fn what_does_not_exist_has_no_offsets() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[]).await;
    for (topic, partition) in [("t", 1), ("t", -1), ("u", 0)] {
        let response = client.ask(7, &ask(topic, partition, -1)).await;
        let code = response.topics[0].partitions[0].error_code;
        assert_eq!(code, ErrorCode::UnknownTopicOrPartition.code());
    }
    let mut request = ask("t", 0, -1);
    request.topics[0].partitions[0].current_leader_epoch = 5;
    let response = client.ask(7, &request).await;
    assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::UnknownLeaderEpoch.code());
    server.stop().await;
}
