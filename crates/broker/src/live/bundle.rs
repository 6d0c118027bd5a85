//! Messages that were published together: one buffer for all who hear them.
//!
//! A publisher copies what somebody hears into a bundle, once; listeners keep runs of it. The buffer counts towards the
//! memory of all live channels until the last of them lets it go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Subscription;
use crate::limits::LIVE_RUN_BYTES;

/// One message, as published and as heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Where it was published.
    pub subject: &'a [u8],
    /// Where an answer is awaited; empty if nowhere.
    pub reply: &'a [u8],
    /// Empty if there are none; else a status text (often empty) and a line end, `name: value` and a line end for each, and a
    /// line end; the line end is CR LF.
    pub headers: &'a [u8],
    /// The body.
    pub payload: &'a [u8],
}

/// Where a message lies in its bundle: subject, reply, headers, payload, one behind the other, up to where the next begins.
#[derive(Clone, Copy, Debug)]
struct Head {
    start: u32,
    headers: u32,
    subject: u16,
    reply: u16,
}

/// Messages on their way into a bundle.
#[derive(Debug, Default)]
pub(super) struct Packing {
    bytes: Vec<u8>,
    heads: Vec<Head>,
}

impl Packing {
    pub(super) fn len(&self) -> u32 {
        // Bounded by the bytes, which are bounded below.
        self.heads.len() as u32
    }

    pub(super) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a message. The caller has checked that subject and reply are at most 65,535 bytes long.
    pub(super) fn add(&mut self, message: Message<'_>) {
        let Message { subject, reply, headers, payload } = message;
        let short = |bytes: &[u8]| u16::try_from(bytes.len()).expect("the publisher refuses longer ones");
        self.heads.push(Head {
            start: u32::try_from(self.bytes.len()).expect("a bundle is let go long before"),
            headers: u32::try_from(headers.len()).expect("no request is as long"),
            subject: short(subject),
            reply: short(reply),
        });
        self.bytes.reserve(subject.len() + reply.len() + headers.len() + payload.len());
        self.bytes.extend_from_slice(subject);
        self.bytes.extend_from_slice(reply);
        self.bytes.extend_from_slice(headers);
        self.bytes.extend_from_slice(payload);
    }

    /// Closes the bundle, at its size: the buffers are left for the next.
    pub(super) fn seal(&mut self, memory: &Arc<Memory>) -> Arc<Bundle> {
        let bundle = Bundle {
            bytes: self.bytes.as_slice().into(),
            heads: self.heads.as_slice().into(),
            memory: Arc::clone(memory),
        };
        self.bytes.clear();
        self.heads.clear();
        memory.used.fetch_add(bundle.held_bytes(), Ordering::Relaxed);
        Arc::new(bundle)
    }
}

/// Bytes of all bundles together.
#[derive(Debug)]
pub(super) struct Memory {
    used: AtomicUsize,
    bytes_max: usize,
}

impl Memory {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { used: AtomicUsize::new(0), bytes_max }
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn free(&self) -> usize {
        self.bytes_max.saturating_sub(self.used())
    }
}

/// Sealed messages.
#[derive(Debug)]
pub(super) struct Bundle {
    bytes: Box<[u8]>,
    heads: Box<[Head]>,
    memory: Arc<Memory>,
}

impl Bundle {
    /// Bytes of memory.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.len() + self.heads.len() * size_of::<Head>() + size_of::<Self>()
    }

    fn end(&self, index: u32) -> usize {
        self.heads.get(index as usize + 1).map_or(self.bytes.len(), |next| next.start as usize)
    }

    /// Bytes of the messages `from..to`.
    pub(super) fn bytes_of(&self, from: u32, to: u32) -> usize {
        if from == to { 0 } else { self.end(to - 1) - self.heads[from as usize].start as usize }
    }

    pub(super) fn get(&self, index: u32) -> Message<'_> {
        let head = self.heads[index as usize];
        let bytes = &self.bytes[head.start as usize..self.end(index)];
        let (subject, bytes) = bytes.split_at(usize::from(head.subject));
        let (reply, bytes) = bytes.split_at(usize::from(head.reply));
        let (headers, payload) = bytes.split_at(head.headers as usize);
        Message { subject, reply, headers, payload }
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.held_bytes(), Ordering::Relaxed);
    }
}

/// What waits for a listener.
#[derive(Clone, Debug)]
pub enum Waiting {
    /// Messages.
    Run(Run),
    /// What the listener's own connection has to say behind them.
    Own(Vec<u8>),
}

impl Waiting {
    /// Bytes that it counts for in an outbox.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Run(run) => run.bytes() + LIVE_RUN_BYTES,
            Self::Own(bytes) => bytes.len() + LIVE_RUN_BYTES,
        }
    }

    pub(super) fn run(&self) -> Option<&Run> {
        match self {
            Self::Run(run) => Some(run),
            Self::Own(_) => None,
        }
    }

    pub(super) fn run_mut(&mut self) -> Option<&mut Run> {
        match self {
            Self::Run(run) => Some(run),
            Self::Own(_) => None,
        }
    }

    pub(super) fn messages(&self) -> usize {
        match self {
            Self::Run(run) => run.len(),
            Self::Own(_) => 0,
        }
    }
}

/// Messages of one bundle, in order, for one subscription.
#[derive(Clone, Debug)]
pub struct Run {
    pub(super) subscription: Arc<Subscription>,
    pub(super) bundle: Arc<Bundle>,
    pub(super) from: u32,
    pub(super) to: u32,
}

impl Run {
    /// Whose.
    #[must_use]
    pub fn subscription(&self) -> &Arc<Subscription> {
        &self.subscription
    }

    /// How many messages.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.to - self.from) as usize
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// One of them.
    ///
    /// # Panics
    /// If `index` is not below `len`.
    #[must_use]
    pub fn get(&self, index: usize) -> Message<'_> {
        assert!(index < self.len(), "message {index} of {}", self.len());
        self.bundle.get(self.from + index as u32)
    }

    /// Bytes that it counts for in an outbox.
    pub(super) fn bytes(&self) -> usize {
        self.bundle.bytes_of(self.from, self.to)
    }
}
