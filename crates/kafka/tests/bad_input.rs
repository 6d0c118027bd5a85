//! What no client should send. Each row: the connection gets the protocol's own error or is closed, the memory comes
//! back, and a client beside it is served as if nothing were.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use duolog_kafka::codec::encode_request;
use duolog_kafka::codec::messages::*;
use duolog_net::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use common::{Client, Server, Settings, batch, fetch, produce, within};

/// A request's frame from its header's fields and its body as it is.
fn raw(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend_from_slice(&u32::try_from(10 + body.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&key.to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&7_i32.to_be_bytes());
    frame.extend_from_slice(&(-1_i16).to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

/// The same for flexible versions, whose header ends in tagged fields.
fn flexible(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    raw(key, version, &[&[0], body].concat())
}

fn good(version: i16) -> Vec<u8> {
    encode_request(version, 7, Some("c"), &MetadataRequest::default()).to_bytes().to_vec()
}

fn well_mixed(count: usize) -> Vec<u8> {
    let mut state = 0x1234_5678_9abc_def0_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}

const HUGE: [u8; 4] = i32::MAX.to_be_bytes();
const NEGATIVE: [u8; 4] = (-5_i32).to_be_bytes();
/// The largest compact length.
const COMPACT: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x0f];

/// What is sent, and whether the connection is closed for it (else something is answered).
fn table() -> Vec<(&'static str, Vec<u8>, bool)> {
    let closes = true;
    let answers = false;
    let mut rows = vec![
        ("a huge size", HUGE.to_vec(), closes),
        ("a size just above the limit", ((100 << 20) + 1_i32).to_be_bytes().to_vec(), closes),
        ("a negative size", NEGATIVE.to_vec(), closes),
        ("the least size", i32::MIN.to_be_bytes().to_vec(), closes),
        ("an empty frame", vec![0; 4], closes),
        ("a frame of one byte", vec![0, 0, 0, 1, 0], closes),
        ("a frame without a correlation id", vec![0, 0, 0, 6, 0, 3, 0, 9, 0, 0], closes),
        ("HTTP GET", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), closes),
        ("HTTP POST", b"POST /topics HTTP/1.1\r\n\r\n".to_vec(), closes),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), closes),
        ("a TLS hello", [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc][..], &[0; 500]].concat(), closes),
        ("SSH", b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), closes),
        ("text", b"hello, is there anybody?\r\n".to_vec(), closes),
        ("an api that is none", raw(9999, 0, &[]), closes),
        ("a negative api", raw(-1, 0, &[]), closes),
        ("an api between brokers", raw(4, 0, &[0; 20]), closes),
        ("a version above the window", raw(3, 99, &[]), closes),
        ("a negative version", raw(3, -1, &[]), closes),
        ("a version below the window", raw(1, 3, &[0; 40]), closes),
        ("ApiVersions of the future", raw(18, 32767, &[]), answers),
        ("no body", raw(3, 1, &[]), closes),
        ("an array of two billion topics", raw(3, 1, &HUGE), closes),
        ("an array of less than no topics", raw(3, 1, &NEGATIVE), closes),
        ("a compact array of four billion", flexible(3, 9, &COMPACT), closes),
        ("a varint without end", flexible(3, 9, &[0xff; 20]), closes),
        ("a topic name longer than the frame", raw(3, 1, &[0, 0, 0, 1, 0x7f, 0xff, b'x']), closes),
        ("a topic name of negative length", raw(3, 1, &[0, 0, 0, 1, 0xff, 0xf0]), closes),
        ("a null topic name", raw(3, 1, &[0, 0, 0, 1, 0xff, 0xff]), answers),
        ("a topic name that is not UTF-8", raw(3, 1, &[0, 0, 0, 1, 0, 2, 0xc3, 0x28]), closes),
        ("a million tags", flexible(3, 9, &[0, 1, 0, 0, 0xc0, 0x84, 0x3d]), closes),
        ("a tag longer than the frame", flexible(3, 9, &[0, 1, 0, 0, 1, 5, 0xff, 0x7f]), closes),
        (
            "a header whose client id is longer than all",
            {
                let mut frame = good(1);
                frame[12..14].copy_from_slice(&0x7fff_i16.to_be_bytes());
                frame
            },
            closes,
        ),
        ("a header with endless tags", raw(3, 9, &COMPACT), closes),
        (
            "records longer than the frame",
            {
                let mut frame =
                    encode_request(3, 7, None, &produce("t", &[(0, batch(&[b"x"]))], -1)).to_bytes().to_vec();
                let at = frame.len() - batch(&[b"x"]).len() - 4;
                frame[at..at + 4].copy_from_slice(&HUGE);
                frame
            },
            closes,
        ),
        (
            "records of negative length",
            {
                let mut frame =
                    encode_request(3, 7, None, &produce("t", &[(0, batch(&[b"x"]))], -1)).to_bytes().to_vec();
                let at = frame.len() - batch(&[b"x"]).len() - 4;
                frame[at..at + 4].copy_from_slice(&NEGATIVE);
                frame
            },
            closes,
        ),
        (
            "a batch that states another length",
            {
                let mut records = batch(&[b"x"]).to_vec();
                records[8..12].copy_from_slice(&HUGE);
                encode_request(3, 7, None, &produce("t", &[(0, records.into())], -1)).to_bytes().to_vec()
            },
            answers,
        ),
        (
            "a fetch with every number at its worst",
            {
                let mut request = fetch("t", &[(i32::MIN, i64::MIN), (i32::MAX, i64::MAX)]);
                request.max_bytes = i32::MIN;
                request.min_bytes = i32::MAX;
                request.max_wait_ms = i32::MIN;
                request.isolation_level = i8::MIN;
                request.topics[0].partitions.iter_mut().for_each(|it| it.partition_max_bytes = i32::MIN);
                encode_request(12, 7, None, &request).to_bytes().to_vec()
            },
            answers,
        ),
        (
            "a topic with a negative number of partitions",
            {
                let topic = CreatableTopic {
                    name: "n".to_owned(),
                    num_partitions: i32::MIN,
                    replication_factor: i16::MIN,
                    ..Default::default()
                };
                encode_request(7, 7, None, &CreateTopicsRequest { topics: vec![topic], ..Default::default() })
                    .to_bytes()
                    .to_vec()
            },
            answers,
        ),
    ];
    rows.extend(admin_table());
    rows.push(("random bytes", well_mixed(65_536), closes));
    // A size that fits, so that the noise is taken for a request.
    let noise = well_mixed(1 << 20);
    rows.push(("random bytes in a frame", [&(1_i32 << 20).to_be_bytes()[..], &noise].concat(), closes));
    rows.push(("random bytes as a fetch", raw(1, 11, &well_mixed(5_000)), closes));
    rows
}

/// The same for the apis that change things.
fn admin_table() -> Vec<(&'static str, Vec<u8>, bool)> {
    let closes = true;
    let answers = false;
    let alter = |resource: IncrementalAlterConfigsResource| {
        let request = IncrementalAlterConfigsRequest { resources: vec![resource; 2], validate_only: false };
        encode_request(1, 7, None, &request).to_bytes().to_vec()
    };
    let odd = IncrementalAlterableConfig {
        name: "x".repeat(30_000),
        config_operation: i8::MIN,
        value: Some("\u{0}".repeat(30_000)),
    };
    let numbers = |key: i16, version: i16| raw(key, version, &[0xff; 64]);
    vec![
        ("records of two billion topics to delete", raw(21, 0, &HUGE), closes),
        (
            "records to delete below every number",
            {
                let partitions = [i64::MIN, -2, i64::MAX]
                    .map(|offset| DeleteRecordsPartition { partition_index: i32::MIN, offset });
                let topic =
                    DeleteRecordsTopic { name: "healthy".to_owned(), partitions: partitions.to_vec() };
                let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: i32::MIN };
                encode_request(2, 7, None, &request).to_bytes().to_vec()
            },
            answers,
        ),
        (
            "epochs of the end of time",
            {
                let partition = OffsetForLeaderPartition {
                    partition: 0,
                    current_leader_epoch: i32::MIN,
                    leader_epoch: i32::MAX,
                };
                let topic =
                    OffsetForLeaderTopic { topic: "healthy".to_owned(), partitions: vec![partition; 1_000] };
                let request = OffsetForLeaderEpochRequest { topics: vec![topic; 10], replica_id: i32::MIN };
                encode_request(4, 7, None, &request).to_bytes().to_vec()
            },
            answers,
        ),
        (
            "offsets of less than no topics to delete",
            raw(47, 0, &[&[0, 1, b'g'][..], &NEGATIVE].concat()),
            closes,
        ),
        ("offsets of a group without a name to delete", raw(47, 0, &[0, 0, 0, 0, 0, 0]), answers),
        ("directories of two billion topics", raw(35, 1, &HUGE), closes),
        ("more partitions for topics of negative number", raw(37, 0, &NEGATIVE), closes),
        (
            "a page of topics from a place that is not there",
            {
                let cursor =
                    TopicPartitionCursor { topic_name: "\u{ffff}".to_owned(), partition_index: i32::MAX };
                let request = DescribeTopicPartitionsRequest {
                    response_partition_limit: i32::MAX,
                    cursor: duolog_kafka::codec::Nullable(Some(cursor)),
                    ..Default::default()
                };
                encode_request(0, 7, None, &request).to_bytes().to_vec()
            },
            answers,
        ),
        ("quotas of only ones", numbers(49, 0), closes),
        ("reassignments of only ones", numbers(46, 0), closes),
        ("settings of two billion resources", raw(33, 0, &HUGE), closes),
        ("settings of less than no resources", raw(44, 0, &NEGATIVE), closes),
        (
            "a resource whose settings are two billion",
            raw(33, 0, &[&[0, 0, 0, 1, 2, 0, 1, b't'], &HUGE[..]].concat()),
            closes,
        ),
        ("a resource without a name", raw(44, 0, &[0, 0, 0, 1, 2, 0xff, 0xff, 0, 0, 0, 0, 0]), closes),
        (
            "a resource of no type, with settings that are none",
            alter(IncrementalAlterConfigsResource {
                resource_type: i8::MIN,
                resource_name: "\u{0}".to_owned(),
                configs: vec![odd.clone(); 100],
            }),
            answers,
        ),
        (
            "a topic's settings a thousand times the same",
            alter(IncrementalAlterConfigsResource {
                resource_type: 2,
                resource_name: "healthy".to_owned(),
                configs: vec![odd; 10],
            }),
            answers,
        ),
    ]
}

/// A client that is served all the while.
async fn serves(client: &mut Client) {
    assert_eq!(client.produce("healthy", 0, batch(&[b"x"])).await.error_code, 0);
    assert_eq!(client.fetch("healthy", 0, 0).await.error_code, 0);
}

async fn memory_comes_back(server: &Server) {
    within(async {
        while server.budget.used_bytes() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_not_a_request_is_answered_or_closed() {
    let server = Server::start().await;
    let mut healthy = server.client().await;
    healthy.create("healthy", 1, &[]).await;
    healthy.create("t", 1, &[]).await;
    let table = table();
    assert!(table.len() >= 40, "{}", table.len());
    for (what, bytes, closes) in table {
        let mut client = server.client().await;
        // The broker may close before it has read everything.
        let _ = client.stream.write_all(&bytes).await;
        if closes {
            assert!(client.is_closed().await, "{what}: something was answered");
        } else {
            assert!(!client.frame().await.is_empty(), "{what}");
            client.stream.write_all(&good(9)).await.unwrap();
            assert!(!client.frame().await.is_empty(), "{what}: the connection lives on");
        }
        serves(&mut healthy).await;
        drop(client);
        memory_comes_back(&server).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_request_cut_anywhere_holds_nothing_once_the_client_is_gone() {
    let server = Server::start().await;
    let mut healthy = server.client().await;
    healthy.create("healthy", 1, &[]).await;
    let whole = encode_request(9, 7, Some("c"), &produce("healthy", &[(0, batch(&[b"x"]))], -1)).to_bytes();
    for end in 0..whole.len() {
        let mut client = server.client().await;
        client.stream.write_all(&whole[..end]).await.unwrap();
        drop(client);
    }
    serves(&mut healthy).await;
    assert_eq!(healthy.fetch("healthy", 0, 0).await.high_watermark, 1, "only the whole request counts");
    memory_comes_back(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn announcing_much_reserves_only_what_has_come() {
    let server = Server::with(Settings { budget_bytes: 16 << 20, ..Settings::default() }).await;
    let mut healthy = server.client().await;
    healthy.create("healthy", 1, &[]).await;
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut client = server.client().await;
        client.stream.write_all(&(15_i32 << 20).to_be_bytes()).await.unwrap();
        client.stream.write_all(&[0; 100]).await.unwrap();
        waiting.push(client);
    }
    // All together have announced 120 MiB and hold one each.
    within(async {
        while server.budget.used_bytes() < 8 << 20 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(server.budget.used_bytes(), 8 << 20);
    serves(&mut healthy).await;
    drop(waiting);
    memory_comes_back(&server).await;
    server.stop().await;
}

fn hasty() -> Limits {
    Limits {
        request_timeout: Duration::from_millis(200),
        idle_timeout: Duration::from_millis(400),
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_request_that_drips_is_cut_off_and_an_idle_connection_closed() {
    let server = Server::with(Settings { limits: hasty(), ..Settings::default() }).await;
    let idle = server.client().await;
    let dripping = server.client().await;
    let (mut read, mut write) = dripping.stream.into_split();
    let drips = tokio::spawn(async move {
        let frame = good(9);
        // Slower than allowed for the whole, each byte well within.
        for byte in frame.iter().cycle().take(1000) {
            if write.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        panic!("nobody cut it off");
    });
    let mut rest = Vec::new();
    let _ = within(read.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
    within(drips).await.unwrap();
    let mut idle = idle;
    assert!(idle.is_closed().await);
    memory_comes_back(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_consumer_that_does_not_read_its_answers_is_cut_off() {
    let limits = Limits { idle_timeout: Duration::from_secs(60), ..hasty() };
    let budget_bytes = 64 << 20;
    let server = Server::with(Settings { limits, budget_bytes, ..Settings::default() }).await;
    let mut healthy = server.client().await;
    healthy.create("healthy", 1, &[]).await;
    for _ in 0..20 {
        healthy.produce("healthy", 0, batch(&[&[b'x'; 1_000_000]])).await;
    }
    let mut deaf = server.client().await;
    let mut request = fetch("healthy", &[(0, 0)]);
    request.topics[0].partitions[0].partition_max_bytes = 50 << 20;
    for _ in 0..8 {
        deaf.send(12, &request).await;
    }
    within(async {
        while server.budget.used_bytes() < 7 << 20 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    serves(&mut healthy).await;
    // However many answers it has asked for, it holds one, and of that an eighth of all memory.
    assert!(server.budget.used_bytes() <= budget_bytes / 8);
    memory_comes_back(&server).await;
    serves(&mut healthy).await;
    server.stop().await;
}

#[tokio::test]
async fn a_consumer_that_does_not_read_does_not_hold_up_the_end() {
    let server = Server::start().await;
    let mut deaf = server.client().await;
    deaf.create("t", 1, &[]).await;
    for _ in 0..8 {
        deaf.produce("t", 0, batch(&[&[b'x'; 1_000_000]])).await;
    }
    let mut request = fetch("t", &[(0, 0)]);
    request.topics[0].partitions[0].partition_max_bytes = 50 << 20;
    deaf.send(12, &request).await;
    within(async {
        while server.budget.used_bytes() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Far less than the time that a stalled answer has otherwise.
    server.stop().await;
}

#[tokio::test]
async fn a_compression_bomb_is_stored_as_it_came_and_never_opened() {
    let server = Server::with(Settings { budget_bytes: 8 << 20, ..Settings::default() }).await;
    let mut client = server.client().await;
    client.create("healthy", 1, &[]).await;
    for codec in [duolog_record::Codec::Gzip, duolog_record::Codec::Zstd, duolog_record::Codec::Lz4] {
        let zeros = vec![0; 60 << 20];
        let bomb = common::batch_with(&[&zeros], codec, None);
        assert!(bomb.len() < 1 << 20, "{codec:?}: {}", bomb.len());
        assert_eq!(client.produce("healthy", 0, bomb.clone()).await.error_code, 0);
        assert!(server.budget.used_bytes() < 2 << 20);
    }
    serves(&mut client).await;
    memory_comes_back(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn connections_above_the_limit_wait_and_are_served_later() {
    let limits = Limits { connections_max: 2, ..Limits::default() };
    let server = Server::with(Settings { limits, ..Settings::default() }).await;
    let first = server.client().await;
    let _second = server.client().await;
    let mut third = Client::over(TcpStream::connect(server.address).await.unwrap());
    third.send(9, &MetadataRequest::default()).await;
    drop(first);
    third.receive::<MetadataRequest>(9, 0).await;
    server.stop().await;
}
