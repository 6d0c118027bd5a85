//! What lapin does all day.

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions,
    BasicQosOptions, BasicRejectOptions, ConfirmSelectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ErrorKind,
    ExchangeKind,
};

use crate::Done;

const MESSAGES: u32 = 1_000;

pub async fn run(address: &str, name: &str) -> Done {
    let url = format!("amqp://guest:guest@{address}/%2f");
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    routed(&connection, &channel, name).await?;
    returned(&channel, name).await?;
    given_back(&channel, name).await?;
    dead_lettered(&channel, name).await?;
    streamed(&connection, &channel, name).await?;
    refused(&connection, name).await?;
    connection.close(200, "done".into()).await?;
    Ok(())
}

fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert((*key).into(), value.clone());
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

async fn declare(channel: &Channel, queue: &str, arguments: FieldTable) -> Done {
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), durable, arguments).await?;
    Ok(())
}

async fn delete(channel: &Channel, queue: &str) -> Done {
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
    Ok(())
}

/// Publishes; once it is confirmed.
async fn publish(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Done {
    let options = BasicPublishOptions::default();
    let confirm =
        channel.basic_publish(exchange.into(), key.into(), options, body, properties).await?.await?;
    assert_eq!(confirm, Confirmation::Ack(None));
    Ok(())
}

async fn next(consumer: &mut Consumer) -> Result<Delivery, Box<dyn std::error::Error>> {
    Ok(consumer.next().await.ok_or("the consumer has ended")??)
}

/// Through a topic exchange, many on their way, taken with a prefetch.
async fn routed(connection: &Connection, channel: &Channel, name: &str) -> Done {
    let exchange = format!("{name}.exchange");
    let options = ExchangeDeclareOptions::default();
    channel
        .exchange_declare(exchange.as_str().into(), ExchangeKind::Topic, options, FieldTable::default())
        .await?;
    declare(channel, name, FieldTable::default()).await?;
    let options = QueueBindOptions::default();
    channel
        .queue_bind(name.into(), exchange.as_str().into(), "orders.*".into(), options, FieldTable::default())
        .await?;
    let mut confirms = Vec::new();
    for number in 0..MESSAGES {
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("text/plain".into())
            .with_headers(table(&[("number", AMQPValue::LongUInt(number))]));
        let body = number.to_string();
        let (to, key) = (exchange.as_str().into(), "orders.new".into());
        confirms.push(
            channel
                .basic_publish(to, key, BasicPublishOptions::default(), body.as_bytes(), properties)
                .await?,
        );
    }
    for confirm in confirms {
        assert_eq!(confirm.await?, Confirmation::Ack(None));
    }
    let taking = connection.create_channel().await?;
    taking.basic_qos(10, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer = taking.basic_consume(name.into(), "".into(), options, FieldTable::default()).await?;
    for number in 0..MESSAGES {
        let delivery = next(&mut consumer).await?;
        assert_eq!(delivery.data, number.to_string().as_bytes());
        assert_eq!(
            (delivery.exchange.as_str(), delivery.routing_key.as_str()),
            (exchange.as_str(), "orders.new")
        );
        let headers = delivery.properties.headers().as_ref().ok_or("no headers")?;
        assert_eq!(headers.inner().get("number"), Some(&AMQPValue::LongUInt(number)));
        delivery.ack(BasicAckOptions::default()).await?;
    }
    // The consumer hears that its queue goes.
    delete(channel, name).await?;
    assert!(consumer.next().await.is_none());
    taking.close(200, "".into()).await?;
    channel.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default()).await?;
    Ok(())
}

/// What no queue takes comes back.
async fn returned(channel: &Channel, name: &str) -> Done {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let nowhere = format!("{name}.nowhere");
    let confirm = channel
        .basic_publish("".into(), nowhere.as_str().into(), options, b"back", BasicProperties::default())
        .await?
        .await?;
    let Confirmation::Ack(Some(message)) = confirm else { return Err(format!("{confirm:?}").into()) };
    assert_eq!((message.reply_code, message.delivery.data.as_slice()), (312, b"back".as_slice()));
    Ok(())
}

/// What is given back comes again, in its place.
async fn given_back(channel: &Channel, name: &str) -> Done {
    declare(channel, name, FieldTable::default()).await?;
    for body in [b"first", b"other"] {
        publish(channel, "", name, body, BasicProperties::default()).await?;
    }
    for redelivered in [false, true] {
        let got = channel.basic_get(name.into(), BasicGetOptions::default()).await?.ok_or("nothing")?;
        assert_eq!(
            (got.delivery.data.as_slice(), got.delivery.redelivered),
            (b"first".as_slice(), redelivered)
        );
        assert_eq!(got.message_count, 1);
        got.delivery.nack(BasicNackOptions { requeue: true, multiple: false }).await?;
    }
    delete(channel, name).await
}

/// What is rejected goes where the queue says, and tells of it.
async fn dead_lettered(channel: &Channel, name: &str) -> Done {
    let dead = format!("{name}.dead");
    declare(channel, &dead, FieldTable::default()).await?;
    let arguments =
        table(&[("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(&dead))]);
    declare(channel, name, arguments).await?;
    publish(channel, "", name, b"poison", BasicProperties::default()).await?;
    let got = channel.basic_get(name.into(), BasicGetOptions::default()).await?.ok_or("nothing")?;
    got.delivery.reject(BasicRejectOptions { requeue: false }).await?;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut consumer =
        channel.basic_consume(dead.as_str().into(), "".into(), options, FieldTable::default()).await?;
    let delivery = next(&mut consumer).await?;
    assert_eq!(delivery.data, b"poison");
    let headers = delivery.properties.headers().as_ref().ok_or("no headers")?;
    assert!(matches!(headers.inner().get("x-death"), Some(AMQPValue::FieldArray(_))));
    delete(channel, name).await?;
    delete(channel, &dead).await
}

/// A stream is read from the start, as often as one likes.
async fn streamed(connection: &Connection, channel: &Channel, name: &str) -> Done {
    declare(channel, name, table(&[("x-queue-type", text("stream"))])).await?;
    for number in 0..20_u8 {
        publish(channel, "", name, &[number], BasicProperties::default()).await?;
    }
    for first in [0, 15] {
        let reading = connection.create_channel().await?;
        reading.basic_qos(100, BasicQosOptions::default()).await?;
        let arguments = table(&[("x-stream-offset", AMQPValue::LongLongInt(first.into()))]);
        let options = BasicConsumeOptions::default();
        let mut consumer = reading.basic_consume(name.into(), "".into(), options, arguments).await?;
        for number in first..20 {
            let delivery = next(&mut consumer).await?;
            let headers = delivery.properties.headers().as_ref().ok_or("no headers")?;
            let offset = headers.inner().get("x-stream-offset");
            assert_eq!(
                (delivery.data.as_slice(), offset),
                ([number].as_slice(), Some(&AMQPValue::LongLongInt(number.into())))
            );
            delivery.ack(BasicAckOptions::default()).await?;
        }
        reading.close(200, "".into()).await?;
    }
    delete(channel, name).await
}

/// What is not there closes the channel, and the connection goes on.
async fn refused(connection: &Connection, name: &str) -> Done {
    let channel = connection.create_channel().await?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let answer = channel.queue_declare(name.into(), passive, FieldTable::default()).await;
    let Err(error) = answer else { return Err("there is a queue that was deleted".into()) };
    match error.kind() {
        ErrorKind::ProtocolError(error) => assert_eq!(error.get_id(), 404),
        other => return Err(format!("{other:?} where 404 was expected").into()),
    }
    connection.create_channel().await?.close(200, "".into()).await?;
    Ok(())
}
