//! The AWS SDK for Rust against a queue: `rust-sqs-client ENDPOINT NAME`. Ends with an error if anything is not as it
//! should be.

use std::error::Error;

use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName};
use aws_sdk_sqs::{Client, Config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (endpoint, name) = arguments.next().zip(arguments.next()).ok_or("usage: ENDPOINT NAME")?;
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "given"))
        .endpoint_url(endpoint)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let sqs = Client::from_conf(config);
    standard(&sqs, &name).await?;
    fifo(&sqs, &format!("{name}.fifo")).await
}

async fn standard(sqs: &Client, name: &str) -> Result<(), Box<dyn Error>> {
    let created = sqs.create_queue().queue_name(name).tags("team", "rust").send().await?;
    let url = created.queue_url().ok_or("no URL")?;
    let bytes =
        MessageAttributeValue::builder().data_type("Binary").binary_value(Blob::new([0, 255])).build()?;
    let sent =
        sqs.send_message().queue_url(url).message_body("hällo").message_attributes("b", bytes).send().await?;
    let received = sqs
        .receive_message()
        .queue_url(url)
        .wait_time_seconds(5)
        .message_attribute_names("All")
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .send()
        .await?;
    let [message] = received.messages() else { return Err("one message was sent".into()) };
    assert_eq!(message.body(), Some("hällo"));
    assert_eq!(message.message_id(), sent.message_id());
    assert_eq!(message.md5_of_message_attributes(), sent.md5_of_message_attributes());
    let handle = message.receipt_handle().ok_or("no handle")?;
    sqs.delete_message().queue_url(url).receipt_handle(handle).send().await?;
    let attributes =
        sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All).send().await?;
    let waiting =
        attributes.attributes().and_then(|it| it.get(&QueueAttributeName::ApproximateNumberOfMessages));
    assert_eq!(waiting.map(String::as_str), Some("0"));
    sqs.delete_queue().queue_url(url).send().await?;
    let gone = sqs.get_queue_url().queue_name(name).send().await.err().ok_or("the queue is gone")?;
    assert!(gone.into_service_error().is_queue_does_not_exist());
    Ok(())
}

async fn fifo(sqs: &Client, name: &str) -> Result<(), Box<dyn Error>> {
    let create = sqs.create_queue().queue_name(name).attributes(QueueAttributeName::FifoQueue, "true");
    let created = create.send().await?;
    let url = created.queue_url().ok_or("no URL")?;
    let mut numbers = Vec::new();
    for id in ["1", "2", "1"] {
        let send = sqs.send_message().queue_url(url).message_body(id).message_group_id("g");
        let sent = send.message_deduplication_id(id).send().await?;
        numbers.push(sent.sequence_number().ok_or("no number")?.to_owned());
    }
    assert!(numbers[0] < numbers[1] && numbers[0] == numbers[2], "{numbers:?}");
    let receive = sqs.receive_message().queue_url(url).wait_time_seconds(5).max_number_of_messages(10);
    let received = receive.send().await?;
    let bodies: Vec<_> = received.messages().iter().filter_map(|message| message.body()).collect();
    assert_eq!(bodies, ["1", "2"]);
    sqs.delete_queue().queue_url(url).send().await?;
    Ok(())
}
