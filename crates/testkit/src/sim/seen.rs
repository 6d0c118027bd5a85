//! What came of the faults in a run: not that they were asked for, but what they cut in two.

use crate::counters::counters;

counters! {
    /// How often each was seen.
    Seen {
        kills = "kills of the process, the machine living on",
        ends = "ends in order",
        died_asked = "deaths with verbs asked and not answered",
        failed_starts = "power cuts amid a start",
        refused_starts = "starts refused, for a bit flipped at rest",
        rewrites_cut = "rewrites of files interrupted",
        manifests_cut = "deaths with the next manifest begun",
        clock_steps_on = "steps of the wall clock ahead",
        clock_steps_back = "steps of the wall clock back",
        leases_over = "durable leases of before a restart that ended after it",
        handles_over = "handles of before a restart that settled after it",
        batches_over = "batches stored once, sent again after a restart",
        duplicates = "records left out for their idempotency key",
        duplicates_over = "of these, first stored before a restart",
        delayed_over = "delayed records that came after a restart",
        by_key_again = "records of a queue by key delivered again",
        by_key_over = "of these, first delivered before a restart",
        repeats = "receives by key repeated that brought the same leases",
        repeats_new = "receives by key repeated that brought others",
        backed_off = "records that came again after a back-off",
        outlived = "records that outlived their time in a queue",
        settled_late = "records settled past their time by who held them",
        newcomers = "records that went before those of a busy key",
        replayed = "settled records made available by a replay",
        dead_lettered = "records found dead-lettered",
        moved = "dead records found moved",
        moves_over = "move tasks that went on after a restart",
        moves_cancelled = "move tasks cancelled",
        replays = "replays and purges answered",
        trims = "trims answered",
        routed = "publishes to several topics answered",
        routed_over = "of those not answered, all there after a restart",
        routed_nowhere = "of those not answered, nowhere after a restart",
        buried = "records that an exchange led to two queues when they were given up",
        buried_over = "of these, seen there first after a restart",
        turned_away = "publishes refused by a full queue",
        dropped = "records that left a full queue for newer ones",
        relaxed_lost = "answered before they were synced, and lost with the power",
    }
}
