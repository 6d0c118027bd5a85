//! Mistakes that a log and a broker must not make, to be made on purpose: the simulator has to find each of them.
//!
//! Without the feature `planted` no mistake can be planted, and the compiler takes the questions out. Only the test that
//! plants them turns the feature on.

/// A mistake, and the promise that it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// A commit is answered that was not synced.
    AckBeforeSync = 1,
    /// Readers see what was not synced.
    VisibleBeforeSync,
    /// New names in the directory are not made durable.
    DirectorySyncSkipped,
    /// The recovered tail is served without being synced first.
    TailNotSynced,
    /// Everything behind the first damage is cut, acknowledged or not.
    CutAtFirstBadCrc,
    /// A failed sync is tried again, and believed.
    SyncRetried,
    /// An emptied partition forgets where it ended.
    OffsetReused,
    /// Of two states of one owner, the older is taken.
    StaleSnapshot,
    /// A dead-letter move settles its source in one commit and appends the copy in the next.
    DeadLetterInTwo,
    /// Leases are not written, whatever else is.
    DeliveryCountLost,
    /// A restart forgets which idempotency keys were appended.
    WindowForgotten,
    /// A delayed record enters its topic in one commit, and in the next it is noted that it has.
    DelayInTwo,
    /// A restart forgets of what key the leased records are, so that the key is no longer blocked.
    KeyFreedByRestart,
    /// What a lease gives back goes behind the later records of its key.
    ReleasedToTheEnd,
    /// Files that were rewritten are unlinked before the manifest lists what they were rewritten into.
    UnlinkBeforeManifest,
    /// A rewritten file is listed that was not synced.
    OutputNotSynced,
    /// A body that went to several partitions is rewritten once for each of them.
    TargetsMultiplied,
    /// The bounds of partitions of which a rewrite left nothing are forgotten.
    BoundsDropped,
    /// An index page is believed whatever its checksum says.
    PageCrcIgnored,
    /// A topic kept until its queues have settled is trimmed by what one of them has settled.
    TrimmedByOneQueue,
    /// A move of dead records forgets at a restart which of them it is for.
    FilterForgotten,
    /// A repeated receive gets the leases of the first, whatever has become of them.
    AttemptRepeatedBlindly,
    /// A record that was leased before is leased again after its time to live.
    OutlivedRetried,
    /// What has outlived its time to live is trimmed although somebody holds it.
    OutlivedInFlight,
    /// After a restart a record whose lease ran out does not wait for its back-off.
    BackoffForgotten,
    /// Keys do not take turns: the record that came first goes first.
    TurnsByArrival,
    /// Fewer settled records are kept than was asked for.
    KeptTooFew,
    /// Handles of before a replay are good for the leases after it.
    ReplayNotFenced,
    /// A record that is routed to several topics takes its last place in the next commit.
    RoutedPartly,
    /// After a crash that may have taken what was not synced the epochs of its topics are not raised.
    EpochKept,
    /// Of the places that an exchange finds for what a queue gives up, the last is taken in the next commit.
    BuriedPartly,
    /// What is on its way to the disk does not count when a full queue refuses.
    LengthBehind,
    /// A queue that is too long gives up twice what is too much.
    DroppedTooMany,
    /// What is read again from the log has lost the time to live that it brought along.
    TtlForgotten,
}

/// Those that the simulator of the whole broker finds.
pub const ALL: [Bug; 28] = [
    Bug::AckBeforeSync,
    Bug::VisibleBeforeSync,
    Bug::DirectorySyncSkipped,
    Bug::TailNotSynced,
    Bug::SyncRetried,
    Bug::OffsetReused,
    Bug::StaleSnapshot,
    Bug::DeadLetterInTwo,
    Bug::DeliveryCountLost,
    Bug::WindowForgotten,
    Bug::DelayInTwo,
    Bug::KeyFreedByRestart,
    Bug::ReleasedToTheEnd,
    Bug::TrimmedByOneQueue,
    Bug::FilterForgotten,
    Bug::AttemptRepeatedBlindly,
    Bug::OutlivedRetried,
    Bug::OutlivedInFlight,
    Bug::BackoffForgotten,
    Bug::TurnsByArrival,
    Bug::KeptTooFew,
    Bug::ReplayNotFenced,
    Bug::RoutedPartly,
    Bug::EpochKept,
    Bug::BuriedPartly,
    Bug::LengthBehind,
    Bug::DroppedTooMany,
    Bug::TtlForgotten,
];

/// Those that show in the log alone.
pub const OF_LOG: [Bug; 6] = [
    Bug::CutAtFirstBadCrc,
    Bug::UnlinkBeforeManifest,
    Bug::OutputNotSynced,
    Bug::TargetsMultiplied,
    Bug::BoundsDropped,
    Bug::PageCrcIgnored,
];

#[cfg(feature = "planted")]
static PLANTED: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// Plants one mistake in this process, in place of the last, or none.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.store(bug.map_or(0, |bug| bug as u8), std::sync::atomic::Ordering::SeqCst);
}

/// True if this mistake is to be made.
#[cfg(feature = "planted")]
#[must_use]
pub fn is(bug: Bug) -> bool {
    PLANTED.load(std::sync::atomic::Ordering::SeqCst) == bug as u8
}

/// True if this mistake is to be made: never.
#[cfg(not(feature = "planted"))]
#[must_use]
pub const fn is(_: Bug) -> bool {
    false
}
