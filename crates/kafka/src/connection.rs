//! One client's connection: requests are begun in the order in which they come and answered in that order.
//!
//! Invariant: each request is polled once before the next is read, so what it asks of the broker is queued in order;
//! at most `limits::IN_FLIGHT` are served at a time, and then nothing more is read.

use std::io;
use std::task::Poll;
use std::time::Duration;

use duolog_net::{Budget, Connection, Context, Shutdown};
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{debug, info};

use crate::api::{self, Answer, Client, Refusal, Reply};
use crate::frame::{self, ReadError};
use crate::limits;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the broker is shutting down")]
    Shutdown,
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{0}")]
    Refused(#[from] Refusal),
    #[error("a request without an answer has failed")]
    Failed,
    #[error("no memory came free for an answer")]
    NoMemory,
    #[error("the response could not be sent: {0}")]
    Write(io::Error),
}

/// Serves a connection to its end.
pub(crate) async fn serve(client: Client, connection: Connection, context: Context) {
    let peer = connection.peer();
    let (read, mut write) = tokio::io::split(connection);
    let (answers, waiting) = mpsc::channel(limits::IN_FLIGHT);
    let mut writing = std::pin::pin!(respond(&mut write, waiting, context.limits.request_timeout));
    let end = tokio::select! {
        biased;
        end = &mut writing => end,
        end = take(read, &client, &context, answers) => match end {
            // What was taken is answered; the handlers that could wait for long see the shutdown themselves, and a
            // client that does not read is not waited for.
            End::Shutdown => timeout(limits::SHUTDOWN_GRACE, writing).await.unwrap_or(End::Shutdown),
            end => end,
        },
    };
    match &end {
        End::Shutdown
        | End::Read(ReadError::Closed | ReadError::Io(_) | ReadError::Idle(_))
        | End::Write(_) => {
            debug!(%peer, reason = %end, "connection ended");
        }
        End::Read(_) | End::Refused(_) | End::Failed | End::NoMemory => {
            info!(%peer, reason = %end, "connection closed")
        }
    }
}

/// Takes requests until the connection ends.
async fn take(
    read: impl AsyncRead + Unpin,
    client: &Client,
    context: &Context,
    answers: mpsc::Sender<Answer>,
) -> End {
    let mut read = BufReader::with_capacity(limits::READ_BUFFER_BYTES, read);
    loop {
        match take_one(&mut read, client, context, &answers).await {
            Ok(()) => {}
            // A long answer is under way: the client is waiting, not idle.
            Err(End::Read(ReadError::Idle(_))) if answers.capacity() < answers.max_capacity() => {}
            Err(end) => return end,
        }
    }
}

async fn take_one(
    read: &mut BufReader<impl AsyncRead + Unpin>,
    client: &Client,
    context: &Context,
    answers: &mpsc::Sender<Answer>,
) -> Result<(), End> {
    // The receiver lives as long as this future: `serve` polls both.
    let Ok(place) = answers.reserve().await else { return Err(End::Shutdown) };
    let (request, reserved) = unless(&context.shutdown, frame::read(read, context)).await??;
    let mut answer = api::begin(client, request, reserved)?;
    let ready = std::future::poll_fn(|cx| {
        Poll::Ready(match answer.as_mut().poll(cx) {
            Poll::Ready(reply) => Some(reply),
            Poll::Pending => None,
        })
    })
    .await;
    if let Some(reply) = ready {
        answer = Box::pin(std::future::ready(pay(reply, context).await?));
    }
    place.send(answer);
    Ok(())
}

/// Reserves memory for an answer that is made already and stands in line behind others: as long as there is none, nothing
/// more is read from the client.
async fn pay(reply: Reply, context: &Context) -> Result<Reply, End> {
    let bytes = reply.unpaid_bytes();
    if bytes < limits::UNPAID_BYTES {
        return Ok(reply);
    }
    let size = bytes.min(Budget::largest(context.budget.bytes_max()));
    if let Ok(Some(memory)) = context.budget.try_reserve(size) {
        return Ok(reply.paid(memory));
    }
    let reserving = timeout(context.limits.request_timeout, context.budget.reserve(size));
    match unless(&context.shutdown, reserving).await? {
        Ok(Ok(memory)) => Ok(reply.paid(memory)),
        Ok(Err(_)) | Err(_) => Err(End::NoMemory),
    }
}

async fn unless<T>(shutdown: &Shutdown, work: impl Future<Output = T>) -> Result<T, End> {
    tokio::select! {
        biased;
        () = shutdown.begun() => Err(End::Shutdown),
        done = work => Ok(done),
    }
}

/// Sends answers in order until there will be no more.
async fn respond(
    write: &mut (impl AsyncWrite + Unpin),
    mut waiting: mpsc::Receiver<Answer>,
    stalled: Duration,
) -> End {
    while let Some(answer) = waiting.recv().await {
        match answer.await {
            Reply::Frame(frame, held) => {
                if let Err(error) = frame::write(write, frame, stalled).await {
                    return End::Write(error);
                }
                drop(held);
            }
            Reply::Silent => {}
            Reply::Close => return End::Failed,
        }
    }
    End::Shutdown
}
