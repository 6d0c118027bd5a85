//! What no client should send. Each row: the connection or the channel is closed with the code that RabbitMQ has for it, or stays
//! open; the memory comes back, and a client beside it is served as if nothing were.
#![allow(clippy::unwrap_used)]

mod common;

use common::Stage::{Agreed, Channel, Connected, Open, Started, Tuned};
use common::{Client, Server, Stage, declare, read, start_ok};
use duolog_amqp::codec::client::ServerMethod;
use duolog_amqp::codec::method::*;
use duolog_amqp::codec::{
    LongStr, MethodId, PROTOCOL_HEADER, Properties, ShortStr, Table, Value, write_heartbeat,
};

/// What comes of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// The header of the protocol, and the end.
    Header,
    /// `connection.close` with this code.
    Connection(u16),
    /// `channel.close` with this code, and the connection goes on.
    Chan(u16),
    /// Nothing is closed.
    Fine,
    /// The end without a word.
    End,
}
use Then::{Chan, Connection, End, Fine, Header};

type Row = (&'static str, Stage, Vec<u8>, Then);

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap();
    [&[kind][..], &channel.to_be_bytes(), &size.to_be_bytes(), payload, &[0xCE]].concat()
}

/// A method frame on channel 1 of these bytes.
fn raw(class: u16, method: u16, arguments: &[u8]) -> Vec<u8> {
    frame(1, 1, &[&class.to_be_bytes()[..], &method.to_be_bytes(), arguments].concat())
}

/// Methods that are written one after the other, on channel 1.
macro_rules! said {
    ($($method:expr),* $(,)?) => {{
        let mut out = Vec::new();
        $($method.write(&mut out, 1);)*
        out
    }};
}

/// The same on channel 0.
macro_rules! on_zero {
    ($method:expr) => {{
        let mut out = Vec::new();
        $method.write(&mut out, 0);
        out
    }};
}

fn short(text: &str) -> ShortStr<'_> {
    ShortStr::cut(text)
}

fn header(class: u16, weight: u16, size: u64, properties: &[u8]) -> Vec<u8> {
    let payload = [&class.to_be_bytes()[..], &weight.to_be_bytes(), &size.to_be_bytes(), properties].concat();
    frame(2, 1, &payload)
}

fn publish(exchange: &'static str) -> Vec<u8> {
    said!(BasicPublish { exchange: short(exchange), routing_key: short("q"), ..BasicPublish::default() })
}

fn publishing(rest: &[Vec<u8>]) -> Vec<u8> {
    [&publish("")[..], &rest.concat()].concat()
}

fn beginnings() -> Vec<Row> {
    vec![
        ("a byte that begins nothing", Connected, b"X".to_vec(), Header),
        ("HTTP", Connected, b"GET / HTTP/1.1\r\n\r\n".to_vec(), Header),
        ("a TLS hello", Connected, vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc], Header),
        ("AMQP 1.0", Connected, b"AMQP\x00\x01\x00\x00".to_vec(), Header),
        ("AMQP 1.0 with SASL", Connected, b"AMQP\x03\x01\x00\x00".to_vec(), Header),
        ("AMQP 0-8", Connected, b"AMQP\x01\x01\x08\x00".to_vec(), Header),
        ("Kafka", Connected, vec![0, 0, 0, 20, 0, 18, 0, 3], Header),
        ("zeros", Connected, vec![0; 64], Header),
        ("the header again", Started, PROTOCOL_HEADER.to_vec(), Connection(501)),
    ]
}

fn handshakes() -> Vec<Row> {
    let tune = |channel_max, frame_max| on_zero!(ConnectionTuneOk { channel_max, frame_max, heartbeat: 0 });
    let start = |mechanism: &'static str, response: &'static [u8]| {
        on_zero!(ConnectionStartOk { mechanism: short(mechanism), response: LongStr(response), ..start_ok() })
    };
    let open = |vhost: &'static str| {
        on_zero!(ConnectionOpen { virtual_host: short(vhost), ..ConnectionOpen::default() })
    };
    vec![
        ("an unknown mechanism", Started, start("CRAM-MD5", b""), Connection(530)),
        ("PLAIN without a password", Started, start("PLAIN", b"guest"), Connection(502)),
        ("AMQPLAIN that is no table", Started, start("AMQPLAIN", b"guest"), Connection(502)),
        ("AMQPLAIN without a login", Started, start("AMQPLAIN", b""), Connection(502)),
        ("tune-ok before it is asked", Started, tune(0, 0), Connection(504)),
        ("open before tune-ok", Tuned, open("/"), Connection(504)),
        ("start-ok twice", Tuned, on_zero!(start_ok()), Connection(504)),
        ("too many channels", Tuned, tune(4000, 0), Connection(530)),
        ("too large a frame", Tuned, tune(0, 1 << 20), Connection(530)),
        ("too small a frame", Tuned, tune(0, 4095), Connection(530)),
        ("a vhost that is not there", Agreed, open("elsewhere"), Connection(530)),
        ("a channel before the connection is open", Agreed, said!(ChannelOpen::default()), Connection(503)),
        (
            "a frame that is too large before it is agreed on",
            Started,
            frame(1, 0, &[0; 9000]),
            Connection(501),
        ),
    ]
}

fn frames() -> Vec<Row> {
    let mut beating = Vec::new();
    write_heartbeat(&mut beating);
    let mut on_channel = beating.clone();
    on_channel[2] = 1;
    let mut bad_end = said!(declare("q"));
    *bad_end.last_mut().unwrap() = 0;
    vec![
        ("a heartbeat", Open, beating, Fine),
        ("a heartbeat of a channel", Open, on_channel, Connection(505)),
        ("a heartbeat with something in it", Open, frame(8, 0, b"x"), Connection(501)),
        ("an unknown type of frame", Open, frame(4, 0, b""), Connection(501)),
        ("a frame that ends otherwise", Channel, bad_end, Connection(501)),
        (
            "a frame that is too large",
            Channel,
            [&[1, 0, 1][..], &u32::MAX.to_be_bytes(), b"x"].concat(),
            Connection(501),
        ),
        ("a method of two bytes", Channel, frame(1, 1, &[0, 50]), Connection(501)),
        ("a method without bytes", Channel, frame(1, 1, b""), Connection(501)),
        ("a class that is not there", Channel, raw(99, 10, b""), Connection(540)),
        ("a method that is not there", Channel, raw(50, 99, b""), Connection(540)),
        ("what a server says", Channel, said!(BasicConsumeOk { consumer_tag: short("x") }), Connection(503)),
        ("arguments that end early", Channel, raw(50, 10, &[0, 0, 5, b'q']), Connection(502)),
        ("arguments that go on", Channel, raw(60, 110, &[1, 2, 3]), Connection(502)),
        (
            "a name that is no UTF-8",
            Channel,
            said!(QueueDelete { queue: ShortStr::new(b"\xff").unwrap(), ..QueueDelete::default() }),
            Connection(501),
        ),
        (
            "a table that is longer than its frame",
            Channel,
            raw(50, 10, b"\0\0\x01q\0\xff\xff\xff\xff"),
            Connection(502),
        ),
        (
            "a table with an unknown type",
            Channel,
            raw(50, 10, b"\0\0\x01q\0\0\0\0\x04\x01a?\0"),
            Connection(502),
        ),
        ("a table that is too deep", Channel, deep_table(), Connection(502)),
        ("half a frame, and the end", Channel, said!(declare("q"))[..9].to_vec(), End),
    ]
}

fn deep_table() -> Vec<u8> {
    let mut table = Vec::new();
    for _ in 0..40 {
        let size = u32::try_from(table.len()).unwrap().to_be_bytes();
        table = [&b"\x01aF"[..], &size, &table].concat();
    }
    let size = u32::try_from(table.len()).unwrap().to_be_bytes();
    raw(50, 10, &[&b"\0\0\x01q\0"[..], &size, &table].concat())
}

fn channels() -> Vec<Row> {
    let on = |channel: u16| {
        let mut out = Vec::new();
        declare("q").write(&mut out, channel);
        out
    };
    vec![
        ("a method on a channel that is not open", Open, on(7), Connection(504)),
        ("a channel that is opened twice", Channel, said!(ChannelOpen::default()), Connection(504)),
        (
            "a channel beyond the most",
            Open,
            {
                let mut out = Vec::new();
                ChannelOpen::default().write(&mut out, 3000);
                out
            },
            Connection(530),
        ),
        ("a method of channels on 0", Channel, on(0), Connection(504)),
        ("a method of the connection on 1", Channel, said!(ConnectionOpen::default()), Connection(503)),
        ("a channel that is to hold back", Channel, said!(ChannelFlow { active: false }), Connection(540)),
        (
            "a prefetch by bytes",
            Channel,
            said!(BasicQos { prefetch_size: 1, ..BasicQos::default() }),
            Connection(540),
        ),
        ("recover in place", Channel, said!(BasicRecover { requeue: false }), Connection(540)),
        ("a commit of nothing", Channel, said!(TxCommit {}), Chan(406)),
        ("a rollback of nothing", Channel, said!(TxRollback {}), Chan(406)),
        (
            "confirms in a transaction",
            Channel,
            said!(TxSelect {}, ConfirmSelect { no_wait: true }),
            Chan(406),
        ),
        (
            "a transaction with confirms",
            Channel,
            said!(ConfirmSelect { no_wait: true }, TxSelect {}),
            Chan(406),
        ),
        ("a transaction of too many", Channel, transaction_of(10_001), Chan(406)),
        (
            "replies that are to be acknowledged",
            Channel,
            said!(BasicConsume { queue: short("amq.rabbitmq.reply-to"), ..BasicConsume::default() }),
            Chan(406),
        ),
        ("replies twice", Channel, [replies(), replies()].concat(), Chan(406)),
        (
            "a question without anyone who waits for the answer",
            Channel,
            publishing(&[header(60, 0, 0, &question())]),
            Chan(406),
        ),
        (
            "an address that nobody has",
            Channel,
            said!(QueueDeclare { passive: true, ..declare("amq.rabbitmq.reply-to.x") }),
            Chan(404),
        ),
        ("an acknowledgement of nothing in a transaction", Channel, in_transaction(), Chan(406)),
        (
            "an acknowledgement of nothing",
            Channel,
            said!(BasicAck { delivery_tag: 1, multiple: false }),
            Chan(406),
        ),
        ("one of all up to nothing", Channel, said!(BasicAck { delivery_tag: 9, multiple: true }), Chan(406)),
        (
            "one of all where there is none",
            Channel,
            said!(BasicAck { delivery_tag: 0, multiple: true }),
            Fine,
        ),
        ("a rejection of nothing", Channel, said!(BasicReject { delivery_tag: 1, requeue: true }), Chan(406)),
        (
            "a consumer that is not there",
            Channel,
            said!(BasicCancel { consumer_tag: short("x"), no_wait: true }),
            Fine,
        ),
        (
            "a consumer tag that is taken",
            Channel,
            said!(
                BasicConsume {
                    queue: short("q"),
                    consumer_tag: short("c"),
                    no_wait: true,
                    ..BasicConsume::default()
                },
                BasicConsume {
                    queue: short("q"),
                    consumer_tag: short("c"),
                    no_wait: true,
                    ..BasicConsume::default()
                },
            ),
            Connection(530),
        ),
    ]
}

fn transaction_of(count: usize) -> Vec<u8> {
    let one = [publish(""), header(60, 0, 0, Properties::NONE)].concat();
    [said!(TxSelect {}), one.repeat(count)].concat()
}

fn replies() -> Vec<u8> {
    let queue = short("amq.rabbitmq.reply-to");
    said!(BasicConsume { queue, no_ack: true, no_wait: true, ..BasicConsume::default() })
}

/// Properties of one that is to be answered directly.
fn question() -> Vec<u8> {
    let mut properties = Vec::new();
    let reply_to = Some(short("amq.rabbitmq.reply-to"));
    Properties { reply_to, ..Properties::default() }.encode(&mut properties);
    properties
}

fn delayed_exchange(routing_as: &str) -> Vec<u8> {
    let arguments = Table::default().with("x-delayed-type", routing_as).encode();
    let (exchange, kind) = (short("delayed"), short("x-delayed-message"));
    said!(ExchangeDeclare { exchange, kind, arguments: arguments.as_raw(), ..ExchangeDeclare::default() })
}

fn in_transaction() -> Vec<u8> {
    said!(TxSelect {}, BasicAck { delivery_tag: 1, multiple: false })
}

fn contents() -> Vec<Row> {
    let none = Properties::NONE;
    let body = |bytes: &[u8]| frame(3, 1, bytes);
    vec![
        ("a header without a method", Channel, header(60, 0, 0, none), Connection(505)),
        ("a body without a method", Channel, body(b"x"), Connection(505)),
        ("a body without a header", Channel, publishing(&[body(b"x")]), Connection(505)),
        ("a method instead of a header", Channel, publishing(&[said!(declare("q"))]), Connection(505)),
        (
            "a method instead of a body",
            Channel,
            publishing(&[header(60, 0, 5, none), publish("")]),
            Connection(505),
        ),
        (
            "two headers",
            Channel,
            publishing(&[header(60, 0, 5, none), header(60, 0, 5, none)]),
            Connection(505),
        ),
        ("a header of another class", Channel, publishing(&[header(50, 0, 0, none)]), Connection(505)),
        ("a header with a weight", Channel, publishing(&[header(60, 1, 0, none)]), Connection(505)),
        ("a header of four bytes", Channel, publishing(&[frame(2, 1, &[0, 60, 0, 0])]), Connection(501)),
        (
            "properties that end early",
            Channel,
            publishing(&[header(60, 0, 0, &[0x80, 0, 9, b'x'])]),
            Connection(502),
        ),
        ("properties that go on", Channel, publishing(&[header(60, 0, 0, &[0, 0, 1])]), Connection(502)),
        ("flags that go on", Channel, publishing(&[header(60, 0, 0, &[0, 1, 0, 0])]), Connection(502)),
        (
            "a body that is longer than it said",
            Channel,
            publishing(&[header(60, 0, 1, none), body(b"xyz")]),
            Connection(505),
        ),
        ("a message of 16 EiB", Channel, publishing(&[header(60, 0, u64::MAX, none)]), Chan(406)),
        ("a message of 17 MiB", Channel, publishing(&[header(60, 0, 17 << 20, none)]), Chan(406)),
        (
            "another's name",
            Channel,
            publishing(&[header(60, 0, 0, &[0, 0x10, 4, b'r', b'o', b'o', b't'])]),
            Chan(406),
        ),
        ("a property among the headers", Channel, with_header("duolog-amqp-user-id", 1), Chan(406)),
        ("the type of a header among the headers", Channel, with_header("duolog-type.a", 1), Chan(406)),
        ("more headers than a record may have", Channel, with_header("h", 10_001), Chan(406)),
        (
            "a message that expires some time",
            Channel,
            publishing(&[header(60, 0, 0, &[1, 0, 1, b'x'])]),
            Chan(406),
        ),
        (
            "an exchange that is not there",
            Channel,
            [publish("nowhere"), header(60, 0, 0, none)].concat(),
            Chan(404),
        ),
        (
            "a message for a consumer that waits",
            Channel,
            said!(BasicPublish { immediate: true, ..BasicPublish::default() }),
            Connection(540),
        ),
        (
            "a message of which the rest never comes",
            Channel,
            publishing(&[header(60, 0, 1000, none), body(b"x")]),
            End,
        ),
    ]
}

/// A message with so many headers whose names begin so.
fn with_header(name: &str, count: usize) -> Vec<u8> {
    let named = |index: usize| if count == 1 { name.to_owned() } else { format!("{name}{index}") };
    let table = (0..count)
        .fold(Table::default(), |table, index| table.with(&named(index), Value::from("v")))
        .encode();
    let mut properties = Vec::new();
    Properties { headers: Some(table.as_raw()), ..Properties::default() }.encode(&mut properties);
    publishing(&[header(60, 0, 0, &properties)])
}

fn declarations() -> Vec<Row> {
    let exchange = |name: &'static str, kind: &'static str| {
        said!(ExchangeDeclare {
            exchange: short(name),
            kind: short(kind),
            durable: true,
            ..ExchangeDeclare::default()
        })
    };
    let with = |table: Table| {
        let table = table.encode();
        said!(QueueDeclare { arguments: table.as_raw(), ..declare("other") })
    };
    let bind = |exchange: &'static str, arguments: Table| {
        let table = arguments.encode();
        said!(QueueBind {
            queue: short("q"),
            exchange: short(exchange),
            arguments: table.as_raw(),
            ..QueueBind::default()
        })
    };
    vec![
        ("an unknown type of exchange", Channel, exchange("x", "x-random"), Connection(503)),
        ("an exchange that delays, somehow", Channel, exchange("x", "x-delayed-message"), Chan(406)),
        ("an exchange that delays what delays", Channel, delayed_exchange("x-delayed-message"), Chan(406)),
        ("an exchange that delays and does not last", Channel, delayed_exchange("direct"), Fine),
        ("an exchange that delays by other rules", Channel, delayed_exchange("fanout"), Chan(406)),
        ("an exchange without a name", Channel, exchange("", "direct"), Chan(403)),
        ("an exchange of the server's", Channel, exchange("amq.mine", "direct"), Chan(403)),
        ("an exchange of another type", Channel, exchange("amq.direct", "fanout"), Chan(406)),
        (
            "an exchange that is to be there",
            Channel,
            said!(ExchangeDeclare { exchange: short("x"), passive: true, ..ExchangeDeclare::default() }),
            Chan(404),
        ),
        (
            "deletion of the server's exchange",
            Channel,
            said!(ExchangeDelete { exchange: short("amq.topic"), ..ExchangeDelete::default() }),
            Chan(403),
        ),
        ("a queue of the server's", Channel, said!(declare("amq.mine")), Chan(403)),
        (
            "a queue that is to be there",
            Channel,
            said!(QueueDeclare { passive: true, ..declare("x") }),
            Chan(404),
        ),
        (
            "a queue that is another",
            Channel,
            said!(QueueDeclare { auto_delete: true, ..declare("q") }),
            Chan(406),
        ),
        (
            "a queue of an unknown type",
            Channel,
            with(Table::default().with("x-queue-type", "ring")),
            Chan(406),
        ),
        (
            "a time to live that is none",
            Channel,
            with(Table::default().with("x-message-ttl", "1h")),
            Chan(406),
        ),
        ("a time to live in the past", Channel, with(Table::default().with("x-message-ttl", -1)), Chan(406)),
        ("a length below nothing", Channel, with(Table::default().with("x-max-length", -5)), Chan(406)),
        ("no way to overflow", Channel, with(Table::default().with("x-overflow", "burst")), Chan(406)),
        ("a priority beyond all", Channel, with(Table::default().with("x-max-priority", 256)), Chan(406)),
        (
            "a key for dead letters alone",
            Channel,
            with(Table::default().with("x-dead-letter-routing-key", "d")),
            Chan(406),
        ),
        ("a binding of nothing", Channel, bind("nowhere", Table::default()), Chan(404)),
        ("a binding of the default exchange", Channel, bind("", Table::default()), Chan(403)),
        (
            "a binding that matches somehow",
            Channel,
            bind("amq.headers", Table::default().with("x-match", "some")),
            Chan(406),
        ),
        (
            "a queue that nobody declared",
            Channel,
            said!(QueuePurge { queue: short("x"), ..QueuePurge::default() }),
            Chan(404),
        ),
        (
            "messages of a queue that is not there",
            Channel,
            said!(BasicGet { queue: short("x"), ..BasicGet::default() }),
            Chan(404),
        ),
        (
            "a consumer of nothing",
            Channel,
            said!(BasicConsume { queue: short("x"), ..BasicConsume::default() }),
            Chan(404),
        ),
    ]
}

/// A close that the server says.
fn closed(payload: &[u8]) -> Option<(bool, u16, MethodId)> {
    match read(payload) {
        ServerMethod::ConnectionClose(it) => Some((true, it.reply_code, it.method)),
        ServerMethod::ChannelClose(it) => Some((false, it.reply_code, it.method)),
        _ => None,
    }
}

/// `Err` with what came instead.
async fn expect(client: &mut Client, then: Then, name: &str) -> Result<(), String> {
    let mut got = None;
    while got.is_none() {
        let Some((_, payload)) = client.method().await else { break };
        got = closed(&payload);
        // What answers the question behind the row.
        if matches!(read(&payload), ServerMethod::ChannelOpenOk(_)) {
            break;
        }
    }
    let got = match got {
        Some((true, code, _)) => Connection(code),
        Some((false, code, _)) => Chan(code),
        None => Fine,
    };
    if got != then {
        return Err(format!("{name}: {got:?} instead of {then:?}"));
    }
    match then {
        Connection(_) => {
            client.send(on_zero!(ConnectionCloseOk {})).await;
            assert_eq!(client.rest().await, b"", "{name}: it says more");
        }
        Chan(_) => {
            let mut out = said!(ChannelCloseOk {}, ChannelOpen::default());
            declare("q").write(&mut out, 1);
            client.send(out).await;
            let answered = client.method().await.unwrap();
            assert!(
                matches!(read(&answered.1), ServerMethod::ChannelOpenOk(_)),
                "{name}: the number is free again"
            );
        }
        Header | Fine | End => {}
    }
    Ok(())
}

async fn run(server: &Server, (name, stage, bytes, then): Row) -> Result<(), String> {
    let mut client = server.connect().await;
    client.reach(stage).await;
    client.send(&bytes).await;
    match then {
        Header if client.rest().await != PROTOCOL_HEADER => Err(format!("{name}: no header")),
        Header | End => Ok(()),
        Fine => {
            let mut out = Vec::new();
            ChannelOpen::default().write(&mut out, 2);
            client.send(out).await;
            expect(&mut client, then, name).await
        }
        Connection(_) | Chan(_) => expect(&mut client, then, name).await,
    }
}

/// One who does what is usual.
async fn check_neighbour(neighbour: &mut Client, name: &str) {
    neighbour.send(publishing(&[header(60, 0, 0, Properties::NONE)])).await;
    neighbour.send(said!(BasicGet { queue: short("q"), no_ack: true, ..BasicGet::default() })).await;
    let (_, payload) = neighbour.method().await.unwrap_or_else(|| panic!("{name}: the neighbour is cut"));
    assert!(matches!(read(&payload), ServerMethod::BasicGetOk(_)), "{name}: the neighbour is not served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_client_should_send_ends_well() {
    let server = Server::start().await;
    let rows = [beginnings(), handshakes(), frames(), channels(), contents(), declarations()].concat();
    assert!(rows.len() >= 60, "{} rows", rows.len());
    let mut neighbour = server.client().await;
    let mut wrong = Vec::new();
    for row in rows {
        let name = row.0;
        wrong.extend(run(&server, row).await.err());
        check_neighbour(&mut neighbour, name).await;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    drop(neighbour);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_cut_anywhere_is_no_harm() {
    let server = Server::start().await;
    let whole = publishing(&[header(60, 0, 3, Properties::NONE), frame(3, 1, b"abc")]);
    for cut in 0..whole.len() {
        let mut client = server.client().await;
        client.send(&whole[..cut]).await;
        client.send(&whole[cut..]).await;
        client.send(said!(BasicGet { queue: short("q"), no_ack: true, ..BasicGet::default() })).await;
        let (_, payload) = client.method().await.unwrap();
        assert!(matches!(read(&payload), ServerMethod::BasicGetOk(_)), "cut at {cut}");
    }
    server.stop().await;
}
