//! What async-nats, redis-rs and lapin do all day, against whatever server is named: `rust-live-client nats|redis|amqp ADDRESS NAME`. Ends with 0 if all of it
//! went as the libraries promise.

mod amqp;

use std::time::Duration;

use futures_util::StreamExt;
use redis::AsyncTypedCommands;

type Done = Result<(), Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Done {
    let mut arguments = std::env::args().skip(1);
    let (Some(protocol), Some(address), Some(name)) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("rust-live-client nats|redis|amqp ADDRESS NAME".into());
    };
    let work = async {
        match protocol.as_str() {
            "nats" => nats(&address, &name).await,
            "redis" => redis(&address, &name).await,
            "amqp" => amqp::run(&address, &name).await,
            other => Err(format!("{other:?} is neither nats nor redis nor amqp").into()),
        }
    };
    tokio::time::timeout(Duration::from_secs(60), work).await?
}

/// The server has dealt with all that the client sent before: `flush` alone only sends it.
async fn settled(client: &async_nats::Client) -> Done {
    let subject = client.new_inbox();
    let mut own = client.subscribe(subject.clone()).await?;
    client.publish(subject, "".into()).await?;
    own.next().await.ok_or("the subscription has ended")?;
    Ok(())
}

async fn nats(address: &str, name: &str) -> Done {
    let client = async_nats::connect(address).await?;
    let other = async_nats::connect(address).await?;

    let mut all = client.subscribe(format!("{name}.>")).await?;
    let mut one = client.subscribe(format!("{name}.*.new")).await?;
    settled(&client).await?;
    for number in 0..1_000 {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("number", number.to_string());
        other.publish_with_headers(format!("{name}.eu.new"), headers, format!("{number}").into()).await?;
    }
    other.flush().await?;
    for subscriber in [&mut all, &mut one] {
        for number in 0..1_000 {
            let message = subscriber.next().await.ok_or("the subscription has ended")?;
            assert_eq!(message.payload, number.to_string());
            let headers = message.headers.ok_or("no headers")?;
            assert_eq!(headers.get("number").map(|value| value.as_str()), Some(number.to_string().as_str()));
        }
    }

    let mut requests = other.queue_subscribe(format!("{name}-service"), "workers".into()).await?;
    settled(&other).await?;
    let serving = async {
        for _ in 0..50 {
            let request = requests.next().await.ok_or("the service has ended")?;
            let reply = request.reply.ok_or("no reply subject")?;
            other.publish(reply, request.payload).await?;
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    let asking = async {
        for number in 0..50 {
            let answer = client.request(format!("{name}-service"), format!("{number}").into()).await?;
            assert_eq!(answer.payload, number.to_string());
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    let (served, asked) = tokio::join!(serving, asking);
    served?;
    asked?;

    let nobody = client.request(format!("{name}-nobody"), "x".into()).await;
    let error = nobody.err().ok_or("somebody answered")?;
    assert_eq!(error.kind(), async_nats::RequestErrorKind::NoResponders);

    let mut few = client.subscribe(format!("{name}-few")).await?;
    few.unsubscribe_after(3).await?;
    settled(&client).await?;
    for number in 0..5 {
        other.publish(format!("{name}-few"), format!("{number}").into()).await?;
    }
    other.flush().await?;
    let mut heard = Vec::new();
    while let Some(message) = few.next().await {
        heard.push(message.payload);
    }
    assert_eq!(heard, ["0", "1", "2"]);
    client.drain().await?;
    Ok(())
}

async fn redis(address: &str, name: &str) -> Done {
    for (url, protocol) in
        [(format!("redis://{address}"), 2), (format!("redis://{address}?protocol=resp3"), 3)]
    {
        let client = redis::Client::open(url)?;
        let mut publisher = client.get_multiplexed_async_connection().await?;
        let mut listener = client.get_async_pubsub().await?;
        listener.subscribe(name).await?;
        listener.psubscribe(format!("{name}*")).await?;
        let mut pipeline = redis::pipe();
        for number in 0..500 {
            pipeline.publish(name, number);
        }
        let heard: Vec<i64> = pipeline.query_async(&mut publisher).await?;
        assert_eq!(heard, vec![2; 500], "protocol {protocol}");
        {
            let mut messages = listener.on_message();
            for number in 0..1_000 {
                let message = messages.next().await.ok_or("the subscription has ended")?;
                assert_eq!(message.get_channel_name(), name);
                assert_eq!(message.get_payload::<i64>()?, number / 2, "protocol {protocol}");
            }
        }
        listener.unsubscribe(name).await?;
        listener.punsubscribe(format!("{name}*")).await?;
        assert_eq!(publisher.publish(name, "nobody").await?, 0);
        assert_eq!(publisher.ping().await?, "PONG");
        let unknown: redis::RedisResult<String> =
            redis::cmd("NOSUCH").arg("a").query_async(&mut publisher).await;
        let error = unknown.err().ok_or("an unknown command was served")?;
        assert!(error.to_string().contains("unknown command"), "{error}");
    }
    Ok(())
}
