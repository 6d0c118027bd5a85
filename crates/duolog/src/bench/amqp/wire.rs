//! A minimal client: a blocking socket, one channel.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context as _, bail, ensure};
use duolog_amqp::codec::client::{ServerMethod, write_publish};
use duolog_amqp::codec::method::{
    BasicAck, BasicConsume, BasicPublish, BasicQos, ChannelOpen, ConfirmSelect, ConnectionOpen,
    ConnectionStartOk, ConnectionTuneOk, QueueDeclare, QueueDelete,
};
use duolog_amqp::codec::{FrameKind, LongStr, PROTOCOL_HEADER, Properties, RawTable, ShortStr, parse_frame};

const CHANNEL: u16 = 1;
const FRAME_MAX: u32 = 131_072;
const READ_BYTES: usize = 128 << 10;

/// What comes in, as far as a benchmark looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Messages up to this number are confirmed.
    Confirmed(u64),
    /// A delivery of this number.
    Delivery(u64),
    /// A piece of a body: the first eight bytes, if it has them, and its size.
    Body(Option<u64>, usize),
    Other,
}

/// See the module.
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
    /// What of `unread` was taken.
    taken: usize,
}

impl Wire {
    /// An open connection with a channel.
    pub fn connect(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let mut wire = Self { stream, unread: Vec::new(), taken: 0 };
        wire.stream.write_all(&PROTOCOL_HEADER)?;
        wire.answer()?;
        wire.ask(|out| {
            let mechanism = ShortStr::cut("PLAIN");
            let (response, locale) = (LongStr(b"\0guest\0guest"), ShortStr::cut("en_US"));
            ConnectionStartOk { client_properties: RawTable::EMPTY, mechanism, response, locale }
                .write(out, 0);
        })?;
        wire.ask(|out| {
            ConnectionTuneOk { channel_max: 16, frame_max: FRAME_MAX, heartbeat: 0 }.write(out, 0);
            ConnectionOpen { virtual_host: ShortStr::cut("/"), ..ConnectionOpen::default() }.write(out, 0);
        })?;
        wire.ask(|out| ChannelOpen::default().write(out, CHANNEL))?;
        Ok(wire)
    }

    pub fn declare(&mut self, queue: &str) -> anyhow::Result<()> {
        let declare = QueueDeclare { queue: ShortStr::cut(queue), durable: true, ..QueueDeclare::default() };
        self.ask(|out| declare.write(out, CHANNEL))
    }

    pub fn delete(&mut self, queue: &str) -> anyhow::Result<()> {
        let delete = QueueDelete { queue: ShortStr::cut(queue), ..QueueDelete::default() };
        self.ask(|out| delete.write(out, CHANNEL))
    }

    pub fn confirm(&mut self) -> anyhow::Result<()> {
        self.ask(|out| ConfirmSelect::default().write(out, CHANNEL))
    }

    pub fn consume(&mut self, queue: &str, prefetch_count: u16) -> anyhow::Result<()> {
        let qos = BasicQos { prefetch_count, ..BasicQos::default() };
        self.ask(|out| qos.write(out, CHANNEL))?;
        let consume = BasicConsume { queue: ShortStr::cut(queue), ..BasicConsume::default() };
        self.ask(|out| consume.write(out, CHANNEL))
    }

    pub fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).context("cannot write")
    }

    pub fn acknowledge(&mut self, delivery_tag: u64) -> anyhow::Result<()> {
        let mut out = Vec::new();
        BasicAck { delivery_tag, multiple: true }.write(&mut out, CHANNEL);
        self.send(&out)
    }

    fn ask(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> anyhow::Result<()> {
        let mut out = Vec::new();
        write(&mut out);
        self.send(&out)?;
        self.answer()
    }

    /// Waits for one frame.
    fn answer(&mut self) -> anyhow::Result<()> {
        self.next().map(|_| ())
    }

    /// True if a frame is there that need not be waited for.
    pub fn has_next(&self) -> bool {
        parse_frame(&self.unread[self.taken..], FRAME_MAX).is_ok_and(|frame| frame.is_some())
    }

    /// The next frame.
    pub fn next(&mut self) -> anyhow::Result<Event> {
        loop {
            if let Some((frame, length)) = parse_frame(&self.unread[self.taken..], FRAME_MAX)? {
                let event = match frame.kind {
                    FrameKind::Method(payload) => event(payload)?,
                    FrameKind::Body(piece) => {
                        let number = piece.first_chunk().map(|first| u64::from_be_bytes(*first));
                        Event::Body(number, piece.len())
                    }
                    FrameKind::Header(_) | FrameKind::Heartbeat => Event::Other,
                };
                self.taken += length;
                return Ok(event);
            }
            self.unread.drain(..self.taken);
            self.taken = 0;
            let has = self.unread.len();
            self.unread.resize(has + READ_BYTES, 0);
            let read = self.stream.read(&mut self.unread[has..]).context("cannot read")?;
            ensure!(read > 0, "the server has closed the connection");
            self.unread.truncate(has + read);
        }
    }
}

fn event(payload: &[u8]) -> anyhow::Result<Event> {
    Ok(match ServerMethod::decode(payload)? {
        ServerMethod::BasicAck(it) => Event::Confirmed(it.delivery_tag),
        ServerMethod::BasicDeliver(it) => Event::Delivery(it.delivery_tag),
        ServerMethod::BasicNack(it) => bail!("message {} is refused", it.delivery_tag),
        ServerMethod::ChannelClose(it) => bail!("the channel is closed: {:?}", it.reply_text),
        ServerMethod::ConnectionClose(it) => bail!("the connection is closed: {:?}", it.reply_text),
        _ => Event::Other,
    })
}

/// A message of so many bytes to a queue, and where its body begins.
pub fn message(queue: &str, bytes: usize, persistent: bool) -> (Vec<u8>, usize) {
    let mut properties = Vec::new();
    Properties { delivery_mode: Some(if persistent { 2 } else { 1 }), ..Properties::default() }
        .encode(&mut properties);
    let publish = BasicPublish { routing_key: ShortStr::cut(queue), ..BasicPublish::default() };
    let mut out = Vec::new();
    write_publish(&mut out, CHANNEL, &publish, &properties, &vec![b'x'; bytes], FRAME_MAX);
    // Behind the body frame's own beginning; larger bodies begin in the first of several frames.
    let frames = bytes.div_ceil(FRAME_MAX as usize - 8);
    let begins = out.len() - bytes - (frames - 1) * 8 - 1;
    (out, begins)
}
