//! Over real sockets, with a session that echoes lines.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as Waiting, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{Input, Next, Talk, TalkOptions, Then, talk};
use crate::{Budget, Connection, Context, Limits, Shutdown};

/// Answers each line with itself; `wait` waits until it is told to go on, `end` ends, `flood` answers without end, `last` has
/// much to say and ends with it.
#[derive(Default)]
struct Echo {
    answers: Vec<u8>,
    flood: bool,
    last: bool,
    goodbye: bool,
    waker: Option<Waker>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    inputs: AtomicUsize,
    overdue: AtomicUsize,
    held: Mutex<Option<Waker>>,
    cut: Mutex<(bool, Option<Waker>)>,
}

impl Talk for Echo {
    fn input(&mut self, bytes: &[u8]) -> Input {
        self.seen.inputs.fetch_add(1, Ordering::SeqCst);
        let mut used = 0;
        let mut next = Next::More;
        while next == Next::More
            && let Some(end) = bytes[used..].iter().position(|byte| *byte == b'\n')
        {
            let line = &bytes[used..=used + end];
            used += end + 1;
            match line {
                b"wait\n" => next = Next::Wait,
                b"pause\n" => next = Next::Pause(Duration::from_millis(1)),
                b"end\n" => next = Next::End,
                b"flood\n" => self.flood = true,
                b"last\n" => self.last = true,
                _ => self.answers.extend_from_slice(line),
            }
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Input { used, next }
    }

    fn poll_output(&mut self, waiting: &mut Waiting<'_>, out: &mut Vec<u8>, room: usize) -> Poll<Then> {
        if self.goodbye {
            out.extend_from_slice(b"goodbye\n");
            return Poll::Ready(Then::End);
        }
        if self.last {
            // More than sockets hold, and less than the budget.
            out.resize(15 << 20, b'.');
            return Poll::Ready(Then::End);
        }
        if self.flood {
            out.resize(room, b'.');
            return Poll::Ready(Then::Sent);
        }
        if self.answers.is_empty() {
            self.waker = Some(waiting.waker().clone());
            return Poll::Pending;
        }
        out.append(&mut self.answers);
        Poll::Ready(Then::Sent)
    }

    fn poll_resume(&mut self, waiting: &mut Waiting<'_>) -> Poll<()> {
        let mut held = self.seen.held.lock();
        if held.is_some() {
            return Poll::Ready(());
        }
        *held = Some(waiting.waker().clone());
        Poll::Pending
    }

    fn poll_cut(&mut self, waiting: &mut Waiting<'_>) -> Poll<()> {
        let mut cut = self.seen.cut.lock();
        cut.1 = Some(waiting.waker().clone());
        if cut.0 {
            self.goodbye = true;
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn shutdown(&mut self) {
        self.goodbye = true;
    }

    fn overdue(&mut self) {
        self.seen.overdue.fetch_add(1, Ordering::SeqCst);
    }
}

struct Pair {
    client: TcpStream,
    context: Context,
    seen: Arc<Seen>,
    served: JoinHandle<()>,
}

async fn pair(options: TalkOptions) -> Pair {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    let connection = Connection::plain(stream, peer).unwrap();
    let context =
        Context { budget: Budget::new(16 << 20), shutdown: Shutdown::new(), limits: Limits::default() };
    let seen = Arc::new(Seen::default());
    let echo = Echo { seen: Arc::clone(&seen), ..Echo::default() };
    let served = tokio::spawn({
        let context = context.clone();
        async move { talk(connection, &context, options, echo).await }
    });
    Pair { client, context, seen, served }
}

const OPTIONS: TalkOptions = TalkOptions { carry_bytes_max: 8 << 20, write_timeout: None };

async fn read_exactly(client: &mut TcpStream, expected: &[u8]) {
    let mut read = vec![0; expected.len()];
    client.read_exact(&mut read).await.unwrap();
    assert!(read == expected, "{:?}", String::from_utf8_lossy(&read[..read.len().min(100)]));
}

#[tokio::test]
async fn lines_come_back_however_they_are_cut() {
    let Pair { mut client, .. } = pair(OPTIONS).await;
    for piece in ["one\ntw", "o", "\n", "three\n"] {
        client.write_all(piece.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
    }
    read_exactly(&mut client, b"one\ntwo\nthree\n").await;
}

#[tokio::test]
async fn a_large_request_comes_whole_and_its_room_is_given_back() {
    let Pair { mut client, context, seen, .. } = pair(OPTIONS).await;
    let mut line = vec![b'x'; 5 << 20];
    line.push(b'\n');
    let (mut reading, mut writing) = client.split();
    let mut back = vec![0; line.len()];
    let (wrote, read) = tokio::join!(writing.write_all(&line), reading.read_exact(&mut back));
    wrote.unwrap();
    read.unwrap();
    assert!(back == line);
    client.write_all(b"next\n").await.unwrap();
    read_exactly(&mut client, b"next\n").await;
    assert!(seen.inputs.load(Ordering::SeqCst) > 2);
    client.write_all(b"end\n").await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(context.budget.used_bytes(), 0);
}

#[tokio::test]
async fn one_that_says_no_more_than_a_beginning_is_ended_at_the_limit() {
    let options = TalkOptions { carry_bytes_max: 1 << 20, ..OPTIONS };
    let Pair { mut client, served, .. } = pair(options).await;
    // The write fails once the connection is gone.
    let _ = client.write_all(&vec![b'x'; 64 << 20]).await;
    served.await.unwrap();
}

#[tokio::test]
async fn what_is_left_is_given_again_once_the_session_wants_it() {
    let Pair { mut client, seen, .. } = pair(OPTIONS).await;
    client.write_all(b"wait\nlater\n").await.unwrap();
    let waker = loop {
        if let Some(waker) = seen.held.lock().clone() {
            break waker;
        }
        tokio::task::yield_now().await;
    };
    waker.wake();
    read_exactly(&mut client, b"later\n").await;
    client.write_all(b"pause\nand on\n").await.unwrap();
    read_exactly(&mut client, b"and on\n").await;
}

#[tokio::test]
async fn the_end_comes_after_what_was_said_before_it() {
    let Pair { mut client, served, .. } = pair(OPTIONS).await;
    client.write_all(b"one\nend\nnot this\n").await.unwrap();
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"one\n");
    served.await.unwrap();
}

#[tokio::test]
async fn a_client_that_has_said_all_still_gets_its_answers() {
    let Pair { mut client, served, .. } = pair(OPTIONS).await;
    client.write_all(b"one\n").await.unwrap();
    client.shutdown().await.unwrap();
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"one\n");
    served.await.unwrap();
}

#[tokio::test]
async fn shutdown_says_goodbye() {
    let Pair { mut client, context, served, .. } = pair(OPTIONS).await;
    client.write_all(b"one\n").await.unwrap();
    read_exactly(&mut client, b"one\n").await;
    context.shutdown.begin();
    read_exactly(&mut client, b"goodbye\n").await;
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    served.await.unwrap();
}

#[tokio::test]
async fn one_who_reads_nothing_is_given_up_and_its_input_goes_on_until_then() {
    let options = TalkOptions { write_timeout: Some(Duration::from_millis(300)), ..OPTIONS };
    let Pair { mut client, seen, served, context } = pair(options).await;
    client.write_all(b"flood\n").await.unwrap();
    let before = seen.inputs.load(Ordering::SeqCst);
    while seen.inputs.load(Ordering::SeqCst) < before + 3 {
        client.write_all(b"still here\n").await.unwrap();
        tokio::task::yield_now().await;
    }
    served.await.unwrap();
    assert_eq!(seen.overdue.load(Ordering::SeqCst), 1);
    assert_eq!(context.budget.used_bytes(), 0);
}

#[tokio::test]
async fn one_that_is_cut_off_is_told_why_if_it_reads() {
    let Pair { mut client, seen, served, .. } = pair(OPTIONS).await;
    client.write_all(b"one\n").await.unwrap();
    read_exactly(&mut client, b"one\n").await;
    let waker = {
        let mut cut = seen.cut.lock();
        cut.0 = true;
        cut.1.take().unwrap()
    };
    waker.wake();
    read_exactly(&mut client, b"goodbye\n").await;
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    served.await.unwrap();
}

#[tokio::test]
async fn one_that_is_cut_off_and_does_not_read_is_not_waited_for() {
    let Pair { mut client, seen, served, .. } = pair(OPTIONS).await;
    client.write_all(b"flood\n").await.unwrap();
    let mut cut = seen.cut.lock().1.take();
    while cut.is_none() {
        tokio::task::yield_now().await;
        cut = seen.cut.lock().1.take();
    }
    seen.cut.lock().0 = true;
    cut.unwrap().wake();
    served.await.unwrap();
}

#[tokio::test]
async fn one_that_has_said_all_and_reads_nothing_is_not_waited_for_for_ever() {
    let options = TalkOptions { write_timeout: Some(Duration::from_millis(100)), ..OPTIONS };
    let Pair { mut client, served, .. } = pair(options).await;
    client.write_all(b"flood\nend\n").await.unwrap();
    served.await.unwrap();
}

#[tokio::test]
async fn last_words_that_are_not_read_are_not_waited_for_for_ever() {
    let options = TalkOptions { write_timeout: Some(Duration::from_millis(100)), ..OPTIONS };
    let Pair { mut client, served, .. } = pair(options).await;
    client.write_all(b"last\n").await.unwrap();
    served.await.unwrap();
}

#[tokio::test]
async fn one_that_waits_notices_that_its_peer_has_gone() {
    // Reset: at the next look, though there is more to read.
    let Pair { mut client, seen, served, .. } = pair(OPTIONS).await;
    client.write_all(b"wait\nlater\n").await.unwrap();
    while seen.held.lock().is_none() {
        tokio::task::yield_now().await;
    }
    client.set_zero_linger().unwrap();
    drop(client);
    served.await.unwrap();
    // One that has said all has time to hear the answers.
    let options = TalkOptions { write_timeout: Some(Duration::from_millis(1)), ..OPTIONS };
    let Pair { mut client, served, .. } = pair(options).await;
    client.write_all(b"wait\nlater\n").await.unwrap();
    client.shutdown().await.unwrap();
    served.await.unwrap();
}
