//! Sessions begun, gone on with, outgrown and lost.
#![allow(clippy::unwrap_used)]

use super::*;

fn room(partitions: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(partitions))
}

fn request(id: i32, epoch: i32, topics: &[(&str, &[(i32, i64)])]) -> FetchRequest {
    let partition = |&(partition, fetch_offset): &(i32, i64)| FetchPartition {
        partition,
        fetch_offset,
        ..FetchPartition::default()
    };
    let topic = |&(topic, partitions): &(&str, &[(i32, i64)])| FetchTopic {
        topic: topic.to_owned(),
        topic_id: 0,
        partitions: partitions.iter().map(partition).collect(),
    };
    FetchRequest {
        session_id: id,
        session_epoch: epoch,
        topics: topics.iter().map(topic).collect(),
        ..FetchRequest::default()
    }
}

fn forgetting(request: FetchRequest, forgotten: &[(&str, &[i32])]) -> FetchRequest {
    let forgotten = forgotten.iter().map(|&(topic, partitions)| ForgottenTopic {
        topic: topic.to_owned(),
        topic_id: 0,
        partitions: partitions.to_vec(),
    });
    FetchRequest { forgotten_topics_data: forgotten.collect(), ..request }
}

/// Topic, partition and offset of all that is read, in order.
fn reads(opened: &Opened) -> Vec<(&str, i32, i64)> {
    let topics = opened.wanted.topics.iter();
    let all =
        topics.flat_map(|topic| topic.partitions.iter().map(move |it| (topic.topic.as_str(), &it.asked)));
    all.map(|(topic, asked)| (topic, asked.partition, asked.fetch_offset)).collect()
}

/// Topics, partitions and offsets.
type Reads = Vec<(String, i32, i64)>;

/// Opens and closes; gives the session's id and what was read.
fn go(slot: &mut FetchSlot, room: &Arc<Semaphore>, request: FetchRequest) -> Result<(i32, Reads), ErrorCode> {
    let opened = slot.open(12, request, room)?;
    let read = reads(&opened).into_iter().map(|(topic, partition, at)| (topic.to_owned(), partition, at));
    let done = (opened.session_id(), read.collect());
    slot.close(opened);
    Ok(done)
}

fn read(all: &[(&str, i32, i64)]) -> Reads {
    all.iter().map(|&(topic, partition, at)| (topic.to_owned(), partition, at)).collect()
}

#[test]
fn a_session_remembers_what_was_named_and_takes_over_changes() {
    let (mut slot, room) = (FetchSlot::default(), room(10));
    let all = request(0, 0, &[("a", &[(0, 5), (1, 5)]), ("b", &[(0, 7)])]);
    let everything = read(&[("a", 0, 5), ("a", 1, 5), ("b", 0, 7)]);
    assert_eq!(go(&mut slot, &room, all), Ok((1, everything.clone())));
    assert_eq!(go(&mut slot, &room, request(1, 1, &[])), Ok((1, everything)));
    let moved = request(1, 2, &[("a", &[(1, 9), (2, 0)]), ("c", &[(0, 1)])]);
    let now = read(&[("a", 0, 5), ("a", 1, 9), ("a", 2, 0), ("b", 0, 7), ("c", 0, 1)]);
    assert_eq!(go(&mut slot, &room, moved), Ok((1, now)));
    assert_eq!(room.available_permits(), 5);
    let fewer = forgetting(request(1, 3, &[]), &[("b", &[0]), ("a", &[0, 1, 99]), ("nope", &[0])]);
    assert_eq!(go(&mut slot, &room, fewer).unwrap().1, read(&[("a", 2, 0), ("c", 0, 1)]));
    assert_eq!(room.available_permits(), 8);
}

#[test]
fn what_does_not_fit_the_session_is_refused_and_the_session_stays() {
    let (mut slot, room) = (FetchSlot::default(), room(10));
    let not_found = Err(ErrorCode::FetchSessionIdNotFound);
    assert_eq!(go(&mut slot, &room, request(0, 1, &[])), not_found);
    assert_eq!(go(&mut slot, &room, request(1, 1, &[])), not_found);
    go(&mut slot, &room, request(0, 0, &[("a", &[(0, 0)])])).unwrap();
    assert_eq!(go(&mut slot, &room, request(2, 1, &[])), not_found);
    for epoch in [2, i32::MAX, -2, i32::MIN] {
        let refused = go(&mut slot, &room, request(1, epoch, &[]));
        assert_eq!(refused, Err(ErrorCode::InvalidFetchSessionEpoch), "{epoch}");
    }
    let by_id = slot.open(13, request(1, 1, &[]), &room).map(|_| ());
    assert_eq!(by_id, Err(ErrorCode::FetchSessionTopicIdError));
    assert!(go(&mut slot, &room, request(1, 1, &[])).is_ok());
}

#[test]
fn without_room_a_consumer_is_declined_and_a_session_that_outgrows_it_ends() {
    let (mut slot, room) = (FetchSlot::default(), room(2));
    let three: &[(i32, i64)] = &[(0, 0), (1, 0), (2, 0)];
    assert_eq!(go(&mut slot, &room, request(0, 0, &[("a", three)])).unwrap().0, 0, "declined");
    assert_eq!(go(&mut slot, &room, request(0, 0, &[("a", &three[..2])])).unwrap().0, 1);
    let more = request(1, 1, &[("a", &three[2..])]);
    assert_eq!(go(&mut slot, &room, more), Err(ErrorCode::FetchSessionIdNotFound));
    assert_eq!(room.available_permits(), 2, "what it took came back");
    assert_eq!(go(&mut slot, &room, request(0, 0, &[])).unwrap().0, 0, "nothing to remember");
}

#[test]
fn a_session_ends_when_the_client_says_so_begins_another_or_goes() {
    let (mut slot, room) = (FetchSlot::default(), room(1));
    let one = |epoch| request(0, epoch, &[("a", &[(0, 0)])]);
    assert_eq!(go(&mut slot, &room, one(0)).unwrap().0, 1);
    assert_eq!(go(&mut slot, &room, one(0)).unwrap().0, 2, "the first has made room");
    // Without a session beside it: it stays.
    assert_eq!(go(&mut slot, &room, one(-1)).unwrap().0, 0);
    assert_eq!(room.available_permits(), 0);
    let last = FetchRequest { session_id: 2, ..one(-1) };
    assert_eq!(go(&mut slot, &room, last).unwrap().0, 0);
    assert_eq!(room.available_permits(), 1);
    assert_eq!(go(&mut slot, &room, one(0)).unwrap().0, 3);
    drop(slot);
    assert_eq!(room.available_permits(), 1);
}

#[test]
fn epochs_begin_anew_behind_the_last() {
    let (mut slot, room) = (FetchSlot::default(), room(1));
    go(&mut slot, &room, request(0, 0, &[("a", &[(0, 0)])])).unwrap();
    slot.session.as_mut().unwrap().epoch = i32::MAX;
    go(&mut slot, &room, request(1, i32::MAX, &[])).unwrap();
    assert!(go(&mut slot, &room, request(1, 1, &[])).is_ok(), "0 would be a new session");
}

#[test]
fn who_had_records_stands_behind_who_had_none() {
    let (mut slot, room) = (FetchSlot::default(), room(9));
    let all = request(0, 0, &[("a", &[(0, 0), (1, 0)]), ("b", &[(0, 0)])]);
    let mut opened = slot.open(12, all, &room).unwrap();
    opened.wanted.topics[0].partitions[0].has_moved = true;
    slot.close(opened);
    let now = go(&mut slot, &room, request(1, 1, &[])).unwrap().1;
    assert_eq!(now, read(&[("b", 0, 0), ("a", 1, 0), ("a", 0, 0)]));
}
