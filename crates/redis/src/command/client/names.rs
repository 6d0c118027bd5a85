//! What a connection calls itself.

use crate::command::Call;
use crate::error;
use crate::limits::{NAME_BYTES, QUOTED_BYTES};

/// # Errors
/// The text of the error, if a connection may not be called so.
pub fn check_name(name: &[u8]) -> Result<(), &'static [u8]> {
    if !is_plain(name) {
        return Err(error::CLIENT_NAME);
    }
    if name.len() > NAME_BYTES { Err(b"ERR Client names cannot be longer than 1024 bytes.") } else { Ok(()) }
}

/// True if a line of CLIENT LIST can hold it.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// CLIENT SETNAME.
pub fn setname(call: &mut Call<'_, '_>) {
    let name = call.args.get(2);
    match check_name(name) {
        Ok(()) => {
            call.client.entry.names.lock().name = name.to_vec();
            call.reply.simple("OK");
        }
        Err(refusal) => call.reply.error(refusal),
    }
}

/// CLIENT GETNAME.
pub fn getname(call: &mut Call<'_, '_>) {
    let name = call.client.entry.names.lock().name.clone();
    if name.is_empty() { call.reply.null() } else { call.reply.bulk(&name) }
}

/// CLIENT SETINFO.
pub fn setinfo(call: &mut Call<'_, '_>) {
    let (attribute, value) = (call.args.get(2), call.args.get(3));
    let is_name = call.args.is(2, "lib-name");
    if !is_name && !call.args.is(2, "lib-ver") {
        let shown = &attribute[..attribute.len().min(QUOTED_BYTES)];
        return call.reply.error(&[b"ERR Unrecognized option '", shown, b"'"].concat());
    }
    let refused = if !is_plain(value) {
        Some("cannot contain spaces, newlines or special characters.")
    } else if value.len() > NAME_BYTES {
        Some("cannot be longer than 1024 bytes.")
    } else {
        None
    };
    if let Some(why) = refused {
        let attribute = if is_name { "lib-name" } else { "lib-ver" };
        return call.reply.error(format!("ERR {attribute} {why}").as_bytes());
    }
    let mut names = call.client.entry.names.lock();
    *(if is_name { &mut names.library } else { &mut names.library_version }) = value.to_vec();
    drop(names);
    call.reply.simple("OK");
}
