//! The look-ahead window of a partition: the spans that will be leased next.
//!
//! Invariant: spans rise and do not overlap, all end at or below `end`; what lies between them is a hole. Spans, not
//! records, so that a backlog costs a few bytes a batch, and only for the batches at its head.

use std::collections::VecDeque;

use crate::ledger::LedgerSpan;

/// Spans that are known, up to `end`.
#[derive(Debug)]
pub(super) struct Window {
    spans: VecDeque<LedgerSpan>,
    end: u64,
}

impl Window {
    /// Nothing known from `at` on.
    pub(super) fn new(at: u64) -> Self {
        Self { spans: VecDeque::new(), end: at }
    }

    /// Known up to here.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Number of spans.
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// The span that stands first.
    pub(super) fn front(&self) -> Option<&LedgerSpan> {
        self.spans.front()
    }

    /// Forgets all and begins again at `at`.
    pub(super) fn restart(&mut self, at: u64) {
        self.spans = VecDeque::new();
        self.end = at;
    }

    /// Adds a span that ends behind `end`.
    pub(super) fn push(&mut self, span: LedgerSpan) {
        self.end = span_end(&span);
        self.spans.push_back(span);
    }

    /// Says that there is nothing up to `to`.
    pub(super) fn push_hole(&mut self, to: u64) {
        self.end = self.end.max(to);
    }

    /// Drops what ends at or below `at`.
    pub(super) fn pass(&mut self, at: u64) {
        while self.spans.front().is_some_and(|span| span_end(span) <= at) {
            self.spans.pop_front();
        }
        self.end = self.end.max(at);
    }
}

/// The offset behind a span's last; nonsense saturates.
pub(super) fn span_end(span: &LedgerSpan) -> u64 {
    span.base.0.saturating_add(u64::from(span.offsets))
}
