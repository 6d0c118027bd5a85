//! Who is let in and under which id.

use super::super::*;
use super::bench::*;

#[test]
fn newcomer_is_first_given_an_id_and_then_joins_with_it() {
    let mut bench = Bench::default();
    let first = bench.join(JoinAsk { id_required: true, ..ask() });
    let refusal = bench.refusal(first);
    assert_eq!(refusal.error, GroupError::MemberIdRequired);
    assert!(refusal.member_id.starts_with("app-"));
    let second = bench.join(JoinAsk { id_required: true, ..with_id(ask(), &refusal.member_id) });
    bench.pass(DELAY_MS);
    let place = bench.place(second);
    assert_eq!(
        (place.generation, &place.member_id, &place.leader),
        (1, &refusal.member_id, &refusal.member_id)
    );
    assert_eq!(place.members.len(), 1);
}

#[test]
fn old_client_joins_at_once_under_a_fresh_id() {
    let mut bench = Bench::default();
    let join = bench.join(ask());
    bench.pass(DELAY_MS);
    assert!(bench.place(join).member_id.starts_with("app-"));
}

#[test]
fn static_newcomer_needs_no_second_join_and_its_id_shows_its_instance() {
    let mut bench = Bench::default();
    let join = bench.join(JoinAsk { id_required: true, ..static_ask("i1") });
    bench.pass(DELAY_MS);
    assert!(bench.place(join).member_id.starts_with("i1-"));
}

#[test]
fn unused_id_lapses_after_the_session_timeout() {
    let mut bench = Bench::default();
    let given = bench.join(JoinAsk { id_required: true, ..ask() });
    let id = bench.refusal(given).member_id;
    bench.pass(SESSION_MS);
    let late = bench.join(with_id(ask(), &id));
    assert_eq!(bench.refusal(late).error, GroupError::UnknownMember);
    assert_eq!(bench.state(), State::Dead, "nothing is left of the group");
}

#[test]
fn id_that_was_given_out_holds_up_the_round_until_it_lapses() {
    let mut bench = Bench::default();
    let a = bench.stable(vec![ask()]).remove(0);
    bench.join(JoinAsk { id_required: true, ..ask() });
    let again = bench.join(with_id(ask(), &a.member_id));
    assert_eq!(bench.joined(again), None);
    bench.pass(SESSION_MS);
    assert_eq!(bench.place(again).generation, 2);
}

#[test]
fn id_that_the_group_does_not_know_is_refused() {
    let mut bench = Bench::default();
    let nobody = bench.join(with_id(ask(), "who"));
    assert_eq!(
        bench.refusal(nobody),
        JoinRefused { error: GroupError::UnknownMember, member_id: "who".into() }
    );
    bench.stable(vec![ask()]);
    let nobody = bench.join(with_id(ask(), "who"));
    assert_eq!(bench.refusal(nobody).error, GroupError::UnknownMember);
}

#[test]
fn session_timeout_outside_the_bounds_is_refused() {
    let mut bench = Bench::default();
    for session_timeout_ms in [0, 5_999, 1_800_001] {
        let join = bench.join(JoinAsk { session_timeout_ms, ..ask() });
        assert_eq!(bench.refusal(join).error, GroupError::InvalidSessionTimeout);
    }
    for session_timeout_ms in [6_000, 1_800_000] {
        let join = bench.join(JoinAsk { session_timeout_ms, ..ask() });
        assert_eq!(bench.joined(join), None);
    }
}

#[test]
fn full_group_refuses_newcomers_and_keeps_its_members() {
    let mut bench = Bench::with(GroupConfig { members_max: 2, ..GroupConfig::default() });
    let places = bench.stable(vec![ask(), ask()]);
    let third = bench.join(ask());
    assert_eq!(bench.refusal(third), JoinRefused { error: GroupError::Full, member_id: "".into() });
    let again = bench.join(with_id(ask(), &places[1].member_id));
    assert_eq!(bench.place(again).generation, 1);
    assert_eq!(bench.state(), State::Stable);
}

#[test]
fn member_that_rejoins_after_the_places_are_taken_is_dropped() {
    let mut bench = Bench::with(GroupConfig { members_max: 2, ..GroupConfig::default() });
    let places = bench.stable(vec![ask(), ask()]);
    let leader = bench.join(with_id(ask(), &places[0].member_id));
    let newcomer = bench.join(ask());
    let late = bench.join(with_id(ask(), &places[1].member_id));
    assert_eq!(bench.refusal(late).error, GroupError::Full);
    assert_eq!((bench.place(leader).generation, bench.place(newcomer).generation), (2, 2));
    assert_eq!(bench.members(), 2);
}

#[test]
fn member_without_a_common_protocol_is_refused() {
    let mut bench = Bench::default();
    bench.stable(vec![ask()]);
    for stranger in [
        JoinAsk { protocols: offers(&["sticky"]), ..ask() },
        JoinAsk { protocols: vec![], ..ask() },
        JoinAsk { protocol_type: "connect".into(), ..ask() },
        JoinAsk { protocol_type: "".into(), ..ask() },
    ] {
        let join = bench.join(stranger);
        assert_eq!(bench.refusal(join).error, GroupError::InconsistentProtocol);
    }
    assert_eq!(bench.state(), State::Stable, "nobody was disturbed");
}

#[test]
fn empty_group_takes_any_kind_of_member_but_none_without_a_protocol() {
    let mut bench = Bench::default();
    let none = bench.join(JoinAsk { protocols: vec![], ..ask() });
    assert_eq!(bench.refusal(none).error, GroupError::InconsistentProtocol);
    let a = bench.stable(vec![ask()]).remove(0);
    bench.leave(&[who(&a.member_id)]);
    assert_eq!(bench.state(), State::Empty);
    let other = bench.join(JoinAsk { protocol_type: "connect".into(), ..ask() });
    bench.pass(DELAY_MS);
    assert_eq!(bench.place(other).protocol_type.as_deref(), Some("connect"));
}

#[test]
fn group_without_a_name_is_refused() {
    let mut bench = Bench::default();
    let mut replies = Vec::new();
    bench.coordinator.join(bench.now(), "", Token(1), ask(), &mut replies);
    let refused = JoinRefused { error: GroupError::InvalidGroupId, member_id: "".into() };
    assert_eq!(replies, [Reply::Join(Token(1), Err(refused))]);
    let beat = bench.coordinator.heartbeat(bench.now(), "", &who("a"), 1);
    assert_eq!(beat, Err(GroupError::InvalidGroupId));
}

#[test]
fn member_with_more_metadata_than_the_limit_is_refused() {
    let mut bench = Bench::default();
    let big = Protocol { name: "range".into(), metadata: vec![0; limits::MEMBER_METADATA_BYTES].into() };
    let join = bench.join(JoinAsk { protocols: vec![big], ..ask() });
    assert_eq!(bench.refusal(join).error, GroupError::TooLarge);
    let many = vec!["p"; limits::PROTOCOLS_PER_MEMBER + 1];
    let join = bench.join(JoinAsk { protocols: offers(&many), ..ask() });
    assert_eq!(bench.refusal(join).error, GroupError::TooLarge);
}

#[test]
fn members_of_all_groups_together_stay_within_the_budget() {
    let mut bench = Bench::default();
    let half = Protocol { name: "range".into(), metadata: vec![0; limits::MEMBER_METADATA_BYTES / 2].into() };
    let mut refused = 0;
    for n in 0..2 * limits::BYTES_TOTAL / limits::MEMBER_METADATA_BYTES + 2 {
        let mut replies = Vec::new();
        let ask = JoinAsk { protocols: vec![half.clone()], ..ask() };
        bench.coordinator.join(bench.now(), &format!("g{n}"), Token(n as u64), ask, &mut replies);
        refused += replies.len();
        bench.coordinator.assert_sound();
    }
    assert!(refused >= 2, "the last are refused");
    assert!(bench.coordinator.bytes <= limits::BYTES_TOTAL);
}

#[test]
fn most_votes_among_the_protocols_that_all_support_win() {
    let mut bench = Bench::default();
    let places = bench.stable(vec![
        JoinAsk { protocols: offers(&["range", "sticky", "roundrobin"]), ..ask() },
        JoinAsk { protocols: offers(&["only-mine", "sticky", "range"]), ..ask() },
        JoinAsk { protocols: offers(&["sticky", "range"]), ..ask() },
    ]);
    for place in &places {
        assert_eq!(place.protocol.as_deref(), Some("sticky"));
    }
    assert_eq!(&places[0].members[0].metadata[..], b"m-sticky");
}

#[test]
fn group_moves_to_the_other_protocol_when_the_last_member_without_it_has_gone() {
    let mut bench = Bench::default();
    let places = bench.stable(vec![
        JoinAsk { protocols: offers(&["cooperative", "range"]), ..ask() },
        JoinAsk { protocols: offers(&["range"]), ..ask() },
    ]);
    assert_eq!(places[0].protocol.as_deref(), Some("range"));
    bench.leave(&[who(&places[1].member_id)]);
    let again = bench.join(with_id(
        JoinAsk { protocols: offers(&["cooperative", "range"]), ..ask() },
        &places[0].member_id,
    ));
    assert_eq!(bench.place(again).protocol.as_deref(), Some("cooperative"));
}
