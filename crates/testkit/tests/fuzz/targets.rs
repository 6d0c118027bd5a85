//! Every decoder of bytes that come from outside: from a client or from a disk.

#[path = "amqp.rs"]
mod amqp;

use bytes::Bytes;
use duolog_aws::codec::query::{self, Form};
use duolog_aws::codec::{arn, credential::Credential, queue_url, receipt, request, task_handle};
use duolog_broker::headers::TYPE_PREFIX;
use duolog_broker::live::{Pattern, Template};
use duolog_broker::routing::{Rules, RulesOn, Seen};
use duolog_kafka::codec::messages::*;
use duolog_kafka::codec::{ApiKey, Decoder, RequestHeader, Wire, decode_body};
use duolog_nats::codec::{Command, Connect, Parser, Step};
use duolog_nats::subject;
use duolog_net::websocket::Decoder as Frames;
use duolog_record::compress::{compress, decompress};
use duolog_record::{Batch, BatchBuilder, Codec, Header, Offset, PartitionId, Timestamp};
use duolog_redis::codec::Parser as RedisParser;
use duolog_storage::disk::Disk;
use duolog_storage::{Body, Commit, DiskLog, Durability, Entry, Log, Options, ReadLimit};
use duolog_testkit::SimDisk;
use duolog_testkit::fuzz::Target;

/// All of them.
pub const ALL: &[Target] = &[
    Target { name: "batch", seeds: batches, run: batch },
    Target { name: "gzip", seeds: || packed(Codec::Gzip), run: |bytes| unpack(Codec::Gzip, bytes) },
    Target { name: "snappy", seeds: || packed(Codec::Snappy), run: |bytes| unpack(Codec::Snappy, bytes) },
    Target { name: "lz4", seeds: || packed(Codec::Lz4), run: |bytes| unpack(Codec::Lz4, bytes) },
    Target { name: "zstd", seeds: || packed(Codec::Zstd), run: |bytes| unpack(Codec::Zstd, bytes) },
    Target { name: "kafka-requests", seeds: kafka_requests, run: kafka_request },
    Target { name: "redis-requests", seeds: redis_requests, run: redis_request },
    amqp::FRAMES,
    amqp::METHODS,
    amqp::TABLES,
    amqp::PROPERTIES,
    Target { name: "log-files", seeds: log_files, run: log_file },
    Target { name: "sqs-json", seeds: sqs_requests, run: sqs_request },
    Target { name: "sqs-query", seeds: sqs_forms, run: sqs_form },
    Target { name: "sqs-names", seeds: sqs_names, run: sqs_name },
    Target { name: "nats-commands", seeds: nats_commands, run: nats_command },
    Target { name: "nats-subjects", seeds: nats_subjects, run: nats_subject },
    Target { name: "websocket-frames", seeds: websocket_frames, run: websocket_frame },
    Target { name: "live-patterns", seeds: live_patterns, run: live_pattern },
    Target { name: "binding-rules", seeds: binding_rules, run: binding_rule },
];

/// Bytes that anything may decode to.
const DECODED_BYTES: usize = 64 << 10;

fn batches() -> Vec<Vec<u8>> {
    let codecs = [Codec::None, Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    codecs
        .iter()
        .map(|&codec| {
            let mut builder = BatchBuilder::new().codec(codec);
            for index in 0..4_u8 {
                let header = Header { key: Bytes::from_static(b"trace"), value: Some(vec![index; 8].into()) };
                builder.push(Timestamp(i64::from(index)), Some(&[index]), Some(&[index; 40]), &[header]);
            }
            builder.build().bytes().to_vec()
        })
        .collect()
}

/// As the storage hands it out: trusted, so that the records behind the checksum are nonsense too.
fn batch(bytes: &[u8]) {
    let mut bytes = Bytes::copy_from_slice(bytes);
    // What a client sends is split from the checked form; an error is as good as a batch.
    let _ = Batch::split_checked(&mut bytes.clone());
    while let Ok(batch) = Batch::split_trusted(&mut bytes) {
        if let Ok(records) = batch.records(Offset(1), DECODED_BYTES) {
            records.take_while(Result::is_ok).for_each(drop);
        }
    }
}

fn packed(codec: Codec) -> Vec<Vec<u8>> {
    let repeated = vec![7; 3000];
    let mixed: Vec<u8> = (0..2000_u32).map(|at| ((at * at) >> 3) as u8).collect();
    [&b""[..], b"short", &repeated, &mixed].iter().map(|plain| compress(codec, plain).to_vec()).collect()
}

fn unpack(codec: Codec, bytes: &[u8]) {
    if let Ok(plain) = decompress(codec, bytes, DECODED_BYTES) {
        assert!(plain.len() <= DECODED_BYTES, "the cap holds");
    }
}

fn sqs_requests() -> Vec<Vec<u8>> {
    [
        r#"{"QueueUrl":"http://h/0/q","MessageBody":"a\nb","MessageAttributes":{"n":{"DataType":"Number","StringValue":"1"},"b":{"DataType":"Binary","BinaryValue":"AP8="}},"DelaySeconds":0,"MessageGroupId":"g"}"#,
        r#"{"QueueUrl":"http://h/0/q","Entries":[{"Id":"1","MessageBody":"x"},{"Id":"2","ReceiptHandle":"eA==","VisibilityTimeout":5}]}"#,
        r#"{"QueueUrl":"http://h/0/q","MaxNumberOfMessages":10,"WaitTimeSeconds":20,"AttributeNames":["All"],"MessageAttributeNames":["a.*"]}"#,
        r#"{"QueueName":"q","Attributes":{"VisibilityTimeout":"5"},"tags":{"duolog:topic":"t"}}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn sqs_request(bytes: &[u8]) {
    let _ = request::decode::<request::CreateQueue<'_>>(bytes);
    let _ = request::decode::<request::ReceiveMessage<'_>>(bytes);
    let _ = request::decode::<request::SettleBatch<'_>>(bytes);
    let _ = request::decode::<request::TagQueue<'_>>(bytes);
    if let Ok(batch) = request::decode::<request::SendMessageBatch<'_>>(bytes) {
        let whole = Bytes::copy_from_slice(bytes);
        assert!(batch.entries.kept.len() <= batch.entries.count, "what was kept was counted");
        for body in batch.entries.kept.iter().filter_map(|entry| entry.message_body.as_ref()) {
            assert_eq!(body.to_bytes(&whole), body.as_str(), "borrowed or not");
        }
    }
}

fn binding_rules() -> Vec<Vec<u8>> {
    [
        r#"{"a": ["x", 5, true, null, {"prefix": "p"}], "$or": [{"b": [{"exists": false}]}, {"c": [{"suffix": "s"}]}]}"#,
        r#"{"a": [{"anything-but": {"wildcard": "a*\\*b"}}], "b": [{"numeric": [">", -1.5e3, "<=", 2]}]}"#,
        r#"{"a": {"b": [{"cidr": "10.0.0.0/8"}], "c": {"d": [{"equals-ignore-case": "\u00e4"}]}}}"#,
        r#"{"a": [{"b": ["x", [1, null]]}, {"c": {"d": "ä"}}], "b": "10.1.2.3"}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

/// The bytes are the rules, and the body and headers that they are held against.
fn binding_rule(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let header =
        |key: String, value: &[u8]| Header { key: key.into(), value: Some(Bytes::copy_from_slice(value)) };
    let headers = [
        header("a".to_owned(), bytes),
        header(format!("{TYPE_PREFIX}a"), b"String.Array"),
        header("b".to_owned(), b"10.0.0.1"),
    ];
    for on in [RulesOn::Headers, RulesOn::Body] {
        if let Ok(rules) = Rules::parse(on, &text) {
            let _ = rules.hold(&Seen::new(&headers, bytes));
            assert_eq!(Rules::parse(on, rules.text()).ok(), Some(rules), "what was kept is read again");
        }
    }
    let known = Rules::parse(RulesOn::Body, r#"{"a": {"b": [{"wildcard": "x*"}, {"exists": false}]}}"#);
    let _ = known.map(|rules| rules.hold(&Seen::new(&[], bytes)));
}

fn sqs_forms() -> Vec<Vec<u8>> {
    [
        "Action=SendMessage&Version=2012-11-05&QueueUrl=http%3A%2F%2Fh%2F0%2Fq&MessageBody=a+b%0A&MessageAttribute.1.Name=n&MessageAttribute.1.Value.DataType=Number&MessageAttribute.1.Value.StringValue=1&MessageAttribute.2.Name=b&MessageAttribute.2.Value.BinaryValue=AP8%3D&DelaySeconds=0",
        "SendMessageBatchRequestEntry.1.Id=1&SendMessageBatchRequestEntry.1.MessageBody=x&SendMessageBatchRequestEntry.10.Id=2&DeleteMessageBatchRequestEntry.1.ReceiptHandle=eA%3D%3D",
        "MaxNumberOfMessages=10&WaitTimeSeconds=20&AttributeName=All&MessageAttributeName.1=a.*&MessageAttributeName.02=b",
        "QueueName=q&Attribute.1.Name=VisibilityTimeout&Attribute.1.Value=5&Attribute.Name=DelaySeconds&Attribute.Value=&Tag.1.Key=k&Tag.1.Value=t&TagKey.1=k",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn sqs_form(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(form) = Form::parse(&[&text]) else { return };
    let _ = query::decode::<request::CreateQueue<'_>>(&form, "CreateQueue");
    let _ = query::decode::<request::ReceiveMessage<'_>>(&form, "ReceiveMessage");
    let _ = query::decode::<request::SettleBatch<'_>>(&form, "DeleteMessageBatch");
    let _ = query::decode::<request::TagQueue<'_>>(&form, "TagQueue");
    if let Ok(batch) = query::decode::<request::SendMessageBatch<'_>>(&form, "SendMessageBatch") {
        assert!(batch.entries.kept.len() <= batch.entries.count, "what was kept was counted");
    }
    if let Ok(send) = query::decode::<request::SendMessage<'_>>(&form, "SendMessage") {
        assert_eq!(send.message_body.as_deref(), form.get("MessageBody"), "a field is its parameter");
    }
}

fn sqs_names() -> Vec<Vec<u8>> {
    [
        "http://localhost:4566/000000000000/orders",
        "arn:aws:sqs:eu-central-1:000000000000:orders",
        "AWS4-HMAC-SHA256 Credential=test/20261124/eu-central-1/sqs/aws4_request, SignedHeaders=host, Signature=00",
        "eyJ0YXNrSWQiOiI3Iiwic291cmNlQXJuIjoiYXJuOmF3czpzcXM6YToxOnEifQ==",
        "sqs.eu-west-1.localhost:4566",
        "ZHEAAAAAAAAAAQAAAAAAAAAQAAAAAAAAAAAAAAABAAAAAAAAAAGVwmU6",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn sqs_name(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = (queue_url::queue_name(&text), arn::queue_name(&text), Credential::parse(&text));
    let _ = (task_handle::decode(&text), queue_url::region_of_host(&text), Credential::of_scope(&text));
    if let Some(id) = receipt::decode(&text) {
        assert_eq!(receipt::encode(id), text, "a handle has one form");
    }
}

fn nats_commands() -> Vec<Vec<u8>> {
    [
        "CONNECT {\"verbose\":false,\"pedantic\":true,\"protocol\":1,\"name\":\"n\"}\r\nPING\r\n",
        "PUB a.b 5\r\nhello\r\nPUB a _INBOX.x.1 0\r\n\r\npub\ta  10\n0123456789\r\n",
        "HPUB a r 18 23\r\nNATS/1.0\r\nA: b\r\n\r\nhello\r\nHPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n",
        "SUB a.> 1\r\nSUB a.* q 22\r\nUNSUB 1\r\nUNSUB 22 5\r\n",
        "PING\r\nPONG\r\n+OK\r\nINFO {}\r\n-ERR 'x'\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// What is understood of all at once is what is understood of it as it drips.
fn nats_command(bytes: &[u8]) {
    fn read(bytes: &[u8], step: usize) -> (usize, bool) {
        let (mut parser, mut used, mut commands) = (Parser::new(64), 0, 0);
        let mut shown = 0;
        while shown < bytes.len() {
            shown = (shown + step).min(bytes.len());
            loop {
                match parser.next(&bytes[used..shown]) {
                    Step::Command(command, length) => {
                        assert!(length > 0 && used + length <= shown, "a command is as long as it is");
                        if let Command::Connect(json) = command {
                            let _ = Connect::default().with(json);
                        }
                        (used, commands) = (used + length, commands + 1);
                    }
                    Step::More(length) => {
                        used += length;
                        break;
                    }
                    Step::Wrong(_) => return (commands, true),
                }
            }
        }
        (commands, false)
    }
    // A step per byte of a long input would be quadratic.
    let whole = read(bytes, bytes.len());
    for step in [1 + bytes.len() / 200, 7 + bytes.len() / 100] {
        assert_eq!(read(bytes, step), whole, "cut after each {step}");
    }
}

fn nats_subjects() -> Vec<Vec<u8>> {
    ["a.b.c", "a.*.c", ">", "orders.eu.>", "_INBOX.abc.1", "a..b", "*.*.>"]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}

fn nats_subject(bytes: &[u8]) {
    let pattern = subject::pattern(bytes);
    if subject::is_literal(bytes) {
        let pattern = pattern.as_ref().expect("who may publish there may listen there");
        assert!(pattern.matches(bytes), "a literal hears itself");
    }
    if let Some(pattern) = pattern {
        let _ = (pattern.matches(b"a.b.c"), pattern.matches(bytes));
    }
    if subject::is_carried(bytes) {
        let is_word = !bytes.iter().any(|byte| b" \t\r\n".contains(byte));
        assert!(is_word, "what is carried is one word");
    }
}

/// A pattern and a subject, with a line end between.
fn websocket_frames() -> Vec<Vec<u8>> {
    let mask = [0; 4];
    let of = |head: &[u8], payload: &[u8]| [head, &mask, payload].concat();
    vec![
        [of(b"\x82\x86", b"PING\r\n"), of(b"\x89\x82", b"hi"), of(b"\x88\x82", b"\x03\xe8")].concat(),
        [of(b"\x02\x81", b"a"), of(b"\x00\x80", b""), of(b"\x80\xfe\x00\xc8", &[7; 200])].concat(),
        of(b"\x81\xff\0\0\0\0\0\x01\0\0", &[7; 100]),
    ]
}

/// The same comes of it however it is cut.
fn websocket_frame(bytes: &[u8]) {
    let decode = |size: usize| {
        let (mut frames, mut data) = (Frames::default(), Vec::new());
        for piece in bytes.chunks(size) {
            let mut piece = piece.to_vec();
            let length = frames.decode(&mut piece);
            data.extend_from_slice(&piece[..length]);
        }
        (data, frames.take_pong(), frames.ended())
    };
    let whole = decode(bytes.len().max(1));
    assert_eq!(whole, decode(1));
    assert_eq!(whole, decode(7));
}

fn live_patterns() -> Vec<Vec<u8>> {
    [
        "a.*.c\na.b.c",
        "a.#.z\na.b.z",
        "#.#\n.",
        "h[a-c]?*\\*\nhbxy*",
        "*a*b*c\nabcabc",
        "[^\\]x\nax",
        "a.>\na.b.c",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// As a glob, and as an operator's pattern: bounded time, and what a subject's own text means.
fn live_pattern(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (pattern, subject) = (&bytes[..at], bytes.get(at + 1..).unwrap_or_default());
    let _ = Pattern::glob(pattern).matches(subject);
    let escaped: Vec<u8> = subject.iter().flat_map(|byte| [b'\\', *byte]).collect();
    assert!(Pattern::glob(&escaped).matches(subject), "an escaped subject names itself");
    assert!(Pattern::glob(b"*").matches(subject) && Pattern::literal(subject).matches(subject));
    let text = String::from_utf8_lossy(pattern);
    if let Ok(pattern) = text.parse::<Pattern>() {
        let _ = pattern.matches(subject);
        if !text.contains(['*', '>', '#']) {
            assert!(pattern.matches(text.as_bytes()), "a pattern without wildcards names itself");
        }
    }
    if let Ok(template) = text.parse::<Template>() {
        assert_eq!(template.to_string(), text);
    }
}

fn redis_requests() -> Vec<Vec<u8>> {
    [
        "*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n$5\r\nhello\r\n*1\r\n$4\r\nPING\r\n",
        "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n*0\r\n*-1\r\n\r\n",
        "SUBSCRIBE \"a \\x41\\n\" 'b\\'c' d\r\nPING\n",
        "*1\r\n$12\r\n0123456789ab\r\n*02\r\n",
        "*1\r\n+PING\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// Whole, and in pieces: the same requests, and the same end.
fn redis_request(bytes: &[u8]) {
    fn requests(bytes: &[u8], piece: usize) -> (Vec<Vec<Vec<u8>>>, String) {
        let mut parser = RedisParser::new(DECODED_BYTES);
        let (mut all, mut used, mut come) = (Vec::new(), 0, 0);
        loop {
            match parser.request(&bytes[used..come]) {
                Ok(Some(length)) => {
                    let request = &bytes[used..used + length];
                    all.push(parser.args(request).from(0).map(<[u8]>::to_vec).collect());
                    parser.advance();
                    used += length;
                }
                Ok(None) if come == bytes.len() => return (all, used.to_string()),
                Ok(None) => come = bytes.len().min(come + piece),
                Err(malformed) => return (all, malformed.text()),
            }
        }
    }
    let whole = requests(bytes, bytes.len().max(1));
    assert_eq!(whole, requests(bytes, 1), "byte by byte");
    assert_eq!(whole, requests(bytes, 7), "in pieces");
}

/// Each api at its oldest and newest version, with bodies that look like short strings, arrays and nulls.
fn kafka_requests() -> Vec<Vec<u8>> {
    let bodies: [&[u8]; 4] = [
        &[0; 40],
        &[0, 0, 0, 1, 0, 3, b'a', b'b', b'c', 0, 0, 0, 1],
        &[2, 4, b'a', b'b', b'c', 1, 2],
        &[0xff; 24],
    ];
    let mut seeds = Vec::new();
    for &api in ApiKey::ALL {
        for version in [*api.versions().start(), *api.versions().end()] {
            for body in bodies {
                let mut seed = (api as i16).to_be_bytes().to_vec();
                seed.extend(version.to_be_bytes());
                seed.extend(7_i32.to_be_bytes());
                seed.extend([0, 1, b'c']);
                seed.extend(api.is_flexible(version).then_some(0));
                (0..6).for_each(|_| seed.extend_from_slice(body));
                seeds.push(seed);
            }
        }
    }
    seeds
}

fn kafka_request(bytes: &[u8]) {
    fn body<T: Wire>(from: &mut Decoder) {
        // An error is as good as a message; a panic is not.
        let _ = decode_body::<T>(from);
    }
    let mut from = Decoder::new(Bytes::copy_from_slice(bytes), 0, false);
    let Ok(mut header) = RequestHeader::decode_start(&mut from) else { return };
    let Some(api) = ApiKey::of(header.api_key) else { return };
    if !api.versions().contains(&header.api_version) || header.decode_rest(api, &mut from).is_err() {
        return;
    }
    match api {
        ApiKey::Produce => body::<ProduceRequest>(&mut from),
        ApiKey::Fetch => body::<FetchRequest>(&mut from),
        ApiKey::ListOffsets => body::<ListOffsetsRequest>(&mut from),
        ApiKey::Metadata => body::<MetadataRequest>(&mut from),
        ApiKey::OffsetCommit => body::<OffsetCommitRequest>(&mut from),
        ApiKey::OffsetFetch => body::<OffsetFetchRequest>(&mut from),
        ApiKey::FindCoordinator => body::<FindCoordinatorRequest>(&mut from),
        ApiKey::JoinGroup => body::<JoinGroupRequest>(&mut from),
        ApiKey::Heartbeat => body::<HeartbeatRequest>(&mut from),
        ApiKey::LeaveGroup => body::<LeaveGroupRequest>(&mut from),
        ApiKey::SyncGroup => body::<SyncGroupRequest>(&mut from),
        ApiKey::DescribeGroups => body::<DescribeGroupsRequest>(&mut from),
        ApiKey::ListGroups => body::<ListGroupsRequest>(&mut from),
        ApiKey::ApiVersions => body::<ApiVersionsRequest>(&mut from),
        ApiKey::CreateTopics => body::<CreateTopicsRequest>(&mut from),
        ApiKey::DeleteTopics => body::<DeleteTopicsRequest>(&mut from),
        ApiKey::DeleteRecords => body::<DeleteRecordsRequest>(&mut from),
        ApiKey::InitProducerId => body::<InitProducerIdRequest>(&mut from),
        ApiKey::OffsetForLeaderEpoch => body::<OffsetForLeaderEpochRequest>(&mut from),
        ApiKey::DescribeConfigs => body::<DescribeConfigsRequest>(&mut from),
        ApiKey::AlterConfigs => body::<AlterConfigsRequest>(&mut from),
        ApiKey::DescribeLogDirs => body::<DescribeLogDirsRequest>(&mut from),
        ApiKey::CreatePartitions => body::<CreatePartitionsRequest>(&mut from),
        ApiKey::DeleteGroups => body::<DeleteGroupsRequest>(&mut from),
        ApiKey::ElectLeaders => body::<ElectLeadersRequest>(&mut from),
        ApiKey::IncrementalAlterConfigs => body::<IncrementalAlterConfigsRequest>(&mut from),
        ApiKey::ListPartitionReassignments => body::<ListPartitionReassignmentsRequest>(&mut from),
        ApiKey::OffsetDelete => body::<OffsetDeleteRequest>(&mut from),
        ApiKey::DescribeProducers => body::<DescribeProducersRequest>(&mut from),
        ApiKey::DescribeClientQuotas => body::<DescribeClientQuotasRequest>(&mut from),
        ApiKey::AlterClientQuotas => body::<AlterClientQuotasRequest>(&mut from),
        ApiKey::DescribeCluster => body::<DescribeClusterRequest>(&mut from),
        ApiKey::ListConfigResources => body::<ListConfigResourcesRequest>(&mut from),
        ApiKey::DescribeTopicPartitions => body::<DescribeTopicPartitionsRequest>(&mut from),
    }
}

fn small() -> Options {
    Options { file_bytes: 32 << 10, reserve_files: 0, cache_bytes: 0, ..Options::default() }
}

/// A small directory: one sealed file, one newest file, the manifest and the watermark; seeds are its files behind the
/// index of their name.
fn directory() -> SimDisk {
    let disk = SimDisk::new(1);
    for base in 0..2_u64 {
        let log = DiskLog::open_manual(std::sync::Arc::new(disk.clone()), small()).expect("a healthy disk");
        let mut builder = BatchBuilder::new();
        builder.push(Timestamp(5), Some(b"key"), Some(&[7; 100]), &[]);
        let target =
            duolog_storage::Target { partition: PartitionId(16), base: Offset(base), leader_epoch: 0 };
        let entry = Entry {
            body: Body::of(&builder.build()),
            targets: vec![target],
            key_hashes: vec![9],
            abort_first: None,
        };
        let commit = Commit {
            entries: vec![entry],
            trims: Vec::new(),
            durability: Durability::Sync,
            append_time: Timestamp(5),
            may_use_reserve: false,
        };
        log.commit(commit, Box::new(|result| result.expect("a healthy disk")));
        while log.pump() {}
        log.close();
        disk.kill_process();
    }
    disk
}

fn log_files() -> Vec<Vec<u8>> {
    let disk = directory();
    let with_index = |(index, name): (usize, &String)| {
        let mut seed = vec![index as u8];
        seed.extend(disk.contents(name).expect("a file that was listed"));
        // Preallocated zeros are not worth breeding from.
        seed.truncate(6 << 10);
        seed
    };
    disk.names().iter().enumerate().map(with_index).collect()
}

/// One file of the directory is replaced: opening it and reading all must answer something.
fn log_file(bytes: &[u8]) {
    let Some((index, contents)) = bytes.split_first() else { return };
    let disk = directory();
    let names = disk.names();
    let name = &names[usize::from(*index) % names.len()];
    let file = disk.open(name).expect("a file that was listed");
    file.set_len(contents.len() as u64).expect("room");
    file.write_at(&[std::io::IoSlice::new(contents)], 0).expect("room");
    let Ok(log) = DiskLog::open_manual(std::sync::Arc::new(disk), small()) else { return };
    for (partition, bounds) in log.partitions() {
        let limit = ReadLimit { bytes_max: 1 << 20, until: bounds.end };
        // Damaged or served: either is an answer.
        let _ = log.read(partition, bounds.start, limit);
        let _ = log.spans(partition, bounds.start, 100);
    }
}
