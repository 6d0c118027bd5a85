//! Every decoder of bytes that come from outside: from a client or from a disk.

use bytes::Bytes;
use duolog_aws::codec::{arn, credential::Credential, queue_url, receipt, request};
use duolog_record::compress::{compress, decompress};
use duolog_record::{Batch, BatchBuilder, Codec, Header, Offset, Timestamp};
use duolog_testkit::fuzz::Target;

/// All of them.
pub const ALL: &[Target] = &[
    Target { name: "batch", seeds: batches, run: batch },
    Target { name: "gzip", seeds: || packed(Codec::Gzip), run: |bytes| unpack(Codec::Gzip, bytes) },
    Target { name: "snappy", seeds: || packed(Codec::Snappy), run: |bytes| unpack(Codec::Snappy, bytes) },
    Target { name: "lz4", seeds: || packed(Codec::Lz4), run: |bytes| unpack(Codec::Lz4, bytes) },
    Target { name: "zstd", seeds: || packed(Codec::Zstd), run: |bytes| unpack(Codec::Zstd, bytes) },
    Target { name: "sqs-json", seeds: sqs_requests, run: sqs_request },
    Target { name: "sqs-names", seeds: sqs_names, run: sqs_name },
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

fn sqs_names() -> Vec<Vec<u8>> {
    [
        "http://localhost:4566/000000000000/orders",
        "arn:aws:sqs:eu-central-1:000000000000:orders",
        "AWS4-HMAC-SHA256 Credential=test/20261124/eu-central-1/sqs/aws4_request, SignedHeaders=host, Signature=00",
        "ZHEAAAAAAAAAAQAAAAAAAAAQAAAAAAAAAAAAAAABAAAAAAAAAAGVwmU6",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn sqs_name(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = (queue_url::queue_name(&text), arn::queue_name(&text), Credential::parse(&text));
    if let Some(id) = receipt::decode(&text) {
        assert_eq!(receipt::encode(id), text, "a handle has one form");
    }
}
