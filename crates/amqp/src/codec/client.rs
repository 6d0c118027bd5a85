//! The other side: what a client hears and says. For tests and the load generator; the server needs none of it.
//!
//! A client says [`super::PROTOCOL_HEADER`], then writes the structs of [`super::method`] as it pleases.

use super::method::{BasicPublish, one_way};
use super::write_with_content;

one_way! {
    /// What a server may say to a client.
    ServerMethod:
    ConnectionStart<'a>, ConnectionSecure<'a>, ConnectionTune, ConnectionOpenOk<'a>, ConnectionClose<'a>, ConnectionCloseOk,
    ConnectionBlocked<'a>, ConnectionUnblocked, ConnectionUpdateSecretOk,
    ChannelOpenOk<'a>, ChannelFlow, ChannelFlowOk, ChannelClose<'a>, ChannelCloseOk,
    AccessRequestOk,
    ExchangeDeclareOk, ExchangeDeleteOk, ExchangeBindOk, ExchangeUnbindOk,
    QueueDeclareOk<'a>, QueueBindOk, QueuePurgeOk, QueueDeleteOk, QueueUnbindOk,
    BasicQosOk, BasicConsumeOk<'a>, BasicCancel<'a>, BasicCancelOk<'a>, BasicReturn<'a>, BasicDeliver<'a>, BasicGetOk<'a>,
    BasicGetEmpty<'a>, BasicAck, BasicRecoverOk, BasicNack,
    ConfirmSelectOk,
    TxSelectOk, TxCommitOk, TxRollbackOk,
}

/// Appends a message as published.
pub fn write_publish(
    out: &mut Vec<u8>,
    channel: u16,
    publish: &BasicPublish<'_>,
    properties: &[u8],
    body: &[u8],
    frame_max: u32,
) {
    write_with_content(out, channel, publish, properties, body, frame_max);
}
