//! The tail cache: the bodies written last, by where they lie.
//!
//! Invariant: places rise, as they are written, so a look-up is a binary search; the oldest go first when it is full.

use std::collections::VecDeque;

use bytes::Bytes;

struct Cached {
    file: u64,
    position: u32,
    body: Bytes,
}

/// Recent bodies.
pub(crate) struct TailCache {
    bodies: VecDeque<Cached>,
    bytes: usize,
    bytes_max: usize,
}

/// What one body costs besides its bytes.
const OVERHEAD_BYTES: usize = size_of::<Cached>();

impl TailCache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bodies: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds the body that was written behind all others.
    pub(crate) fn push(&mut self, file: u64, position: u32, body: Bytes) {
        self.bytes += body.len() + OVERHEAD_BYTES;
        self.bodies.push_back(Cached { file, position, body });
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.bodies.pop_front()
        {
            self.bytes -= oldest.body.len() + OVERHEAD_BYTES;
        }
    }

    /// The body at this place.
    pub(crate) fn get(&self, file: u64, position: u32) -> Option<&Bytes> {
        let index = self.bodies.binary_search_by_key(&(file, position), |it| (it.file, it.position)).ok()?;
        self.bodies.get(index).map(|it| &it.body)
    }

    /// True if the body at this place has been dropped (or was never there).
    pub(crate) fn is_below(&self, file: u64, position: u32) -> bool {
        self.bodies.front().is_none_or(|oldest| (file, position) < (oldest.file, oldest.position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_bodies_go_first() {
        let mut cache = TailCache::new(3 * (10 + OVERHEAD_BYTES));
        for position in 0..5 {
            cache.push(1 + u64::from(position / 3), position, Bytes::from(vec![position as u8; 10]));
        }
        assert!(cache.get(1, 1).is_none() && cache.is_below(1, 1));
        assert_eq!(cache.get(1, 2).map(|it| it[0]), Some(2));
        assert_eq!(cache.get(2, 4).map(|it| it[0]), Some(4));
        assert!(cache.get(2, 9).is_none());
    }
}
