//! Writes one frame: small things into one buffer, large bodies beside it as handles.

use bytes::{BufMut, Bytes, BytesMut};

use crate::limits;

/// Bytes for the size in front of a frame.
const SIZE_BYTES: usize = 4;

/// Collects one frame at one version of one message.
#[derive(Debug)]
pub struct Encoder {
    buf: BytesMut,
    /// Bodies that are not copied, each with the position in `buf` before which it goes.
    shared: Vec<(usize, Bytes)>,
    version: i16,
    flexible: bool,
}

/// One frame, its size in front, as pieces to be written in order.
#[derive(Clone, Debug)]
pub struct Frame {
    /// None is empty.
    pub parts: Vec<Bytes>,
    /// Bytes of all parts.
    pub bytes: usize,
}

impl Encoder {
    /// An empty frame.
    #[must_use]
    pub fn new(version: i16, flexible: bool) -> Self {
        let mut buf = BytesMut::with_capacity(256);
        buf.put_bytes(0, SIZE_BYTES);
        Self { buf, shared: Vec::new(), version, flexible }
    }

    /// The version of the message.
    #[must_use]
    pub fn version(&self) -> i16 {
        self.version
    }

    /// True if lengths are compact and structures end in tagged fields.
    #[must_use]
    pub fn flexible(&self) -> bool {
        self.flexible
    }

    /// Goes on at another version: the body after its header.
    pub fn switch(&mut self, version: i16, flexible: bool) {
        (self.version, self.flexible) = (version, flexible);
    }

    /// Copies bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// Adds a body: by its handle if it is large, by a copy if it is small.
    pub fn put_shared(&mut self, body: &Bytes) {
        if body.len() < limits::COPY_BELOW_BYTES {
            self.put(body);
        } else {
            self.shared.push((self.buf.len(), body.clone()));
        }
    }

    /// Writes an unsigned variable-length integer.
    pub fn put_uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buf.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.buf.put_u8(value as u8);
    }

    /// Writes the length of a string; `None` is null.
    pub(super) fn put_short_length(&mut self, length: Option<usize>) {
        if self.flexible {
            self.put_compact_length(length);
        } else {
            self.buf.put_i16(length.map_or(-1, |length| i16::try_from(length).unwrap_or(i16::MAX)));
        }
    }

    /// Writes the length of bytes or an array; `None` is null.
    pub(super) fn put_long_length(&mut self, length: Option<usize>) {
        if self.flexible {
            self.put_compact_length(length);
        } else {
            self.buf.put_i32(length.map_or(-1, |length| i32::try_from(length).unwrap_or(i32::MAX)));
        }
    }

    /// Writes one tagged field whose content `field` writes. Tagged fields are small: they are encoded apart, so that
    /// their size is known, and copied.
    pub(super) fn tag(into: &mut Vec<(u32, Bytes)>, tag: u32, version: i16, field: impl FnOnce(&mut Self)) {
        let mut apart = Self::new(version, true);
        field(&mut apart);
        let mut content = BytesMut::new();
        for part in apart.finish().parts {
            content.extend_from_slice(&part);
        }
        into.push((tag, content.freeze().slice(SIZE_BYTES..)));
    }

    /// Writes the tagged fields at the end of a structure.
    pub(super) fn put_tags(&mut self, tags: &[(u32, Bytes)]) {
        self.put_uvarint(tags.len() as u32);
        for (tag, content) in tags {
            self.put_uvarint(*tag);
            self.put_uvarint(content.len() as u32);
            self.put(content);
        }
    }

    /// Length plus one, so that null is zero.
    fn put_compact_length(&mut self, length: Option<usize>) {
        self.put_uvarint(length.map_or(0, |length| u32::try_from(length + 1).unwrap_or(u32::MAX)));
    }

    /// The frame, its size filled in.
    #[must_use]
    pub fn finish(mut self) -> Frame {
        let bytes = self.buf.len() + self.shared.iter().map(|(_, body)| body.len()).sum::<usize>();
        let size = u32::try_from(bytes - SIZE_BYTES).unwrap_or(u32::MAX);
        self.buf[..SIZE_BYTES].copy_from_slice(&size.to_be_bytes());
        let mut rest = self.buf.freeze();
        let mut parts = Vec::with_capacity(self.shared.len() * 2 + 1);
        let mut done = 0;
        for (position, body) in self.shared {
            if position > done {
                parts.push(rest.split_to(position - done));
                done = position;
            }
            parts.push(body);
        }
        if !rest.is_empty() {
            parts.push(rest);
        }
        Frame { parts, bytes }
    }
}

impl Frame {
    /// All bytes in one piece, by a copy unless it is one piece already.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self.parts.as_slice() {
            [one] => one.clone(),
            parts => parts.concat().into(),
        }
    }
}
