//! What clients answer when asked who they are: the mechanisms PLAIN and AMQPLAIN.
//!
//! Source: RFC 4616, of which RabbitMQ takes no authorization identity; RabbitMQ `rabbit_auth_mechanism_plain`,
//! `rabbit_auth_mechanism_amqplain`.

use std::fmt;

use super::{LongStr, RawTable, ReplyCode, ValueRef};

/// A name and a password. The password is not shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// Who.
    pub user: &'a [u8],
    /// What only they know.
    pub password: &'a [u8],
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?})", String::from_utf8_lossy(self.user))
    }
}

/// Why a response names nobody. Closes the connection; another thing than a wrong password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// A response of PLAIN that is not two strings, each behind a zero.
    #[error("invalid PLAIN response")]
    Plain,
    /// A response of AMQPLAIN that is no table.
    #[error("invalid AMQPLAIN response")]
    NoTable,
    /// A response of AMQPLAIN without them.
    #[error("AMQPLAIN response is missing LOGIN or PASSWORD field")]
    Missing,
    /// A response of AMQPLAIN in which they are no strings.
    #[error("AMQPLAIN response uses unsupported type for LOGIN or PASSWORD field")]
    Type,
}

impl SaslError {
    /// What the connection is closed with.
    #[must_use]
    pub fn reply_code(self) -> ReplyCode {
        ReplyCode::SyntaxError
    }
}

/// Reads a response of PLAIN: `\0user\0password`.
///
/// # Errors
/// [`SaslError::Plain`].
pub fn plain(response: &[u8]) -> Result<Credentials<'_>, SaslError> {
    let mut parts = response.split(|byte| *byte == 0);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some([]), Some(user), Some(password), None) => Ok(Credentials { user, password }),
        _ => Err(SaslError::Plain),
    }
}

/// Reads a response of AMQPLAIN: the entries of a table, its size left out.
///
/// # Errors
/// [`SaslError`], any but [`SaslError::Plain`].
pub fn amqplain(response: &[u8]) -> Result<Credentials<'_>, SaslError> {
    let table = RawTable::new(response).map_err(|_| SaslError::NoTable)?;
    match (table.get("LOGIN"), table.get("PASSWORD")) {
        (Some(ValueRef::String(LongStr(user))), Some(ValueRef::String(LongStr(password)))) => {
            Ok(Credentials { user, password })
        }
        (Some(_), Some(_)) => Err(SaslError::Type),
        _ => Err(SaslError::Missing),
    }
}

/// Appends the response of PLAIN.
pub fn write_plain(out: &mut Vec<u8>, credentials: &Credentials<'_>) {
    out.push(0);
    out.extend_from_slice(credentials.user);
    out.push(0);
    out.extend_from_slice(credentials.password);
}

#[cfg(test)]
mod tests {
    use super::{Credentials, SaslError, amqplain, plain, write_plain};
    use crate::codec::Table;

    const GUEST: Credentials<'_> = Credentials { user: b"guest", password: b"secret" };

    #[test]
    fn plain_is_two_strings_behind_zeros() {
        let mut response = Vec::new();
        write_plain(&mut response, &GUEST);
        assert_eq!(response, b"\0guest\0secret");
        assert_eq!(plain(&response), Ok(GUEST));
        assert_eq!(plain(b"\0\0"), Ok(Credentials { user: b"", password: b"" }));
        for wrong in [&b""[..], b"guest", b"guest\0secret", b"\0guest", b"admin\0guest\0secret", b"\0a\0b\0"]
        {
            assert_eq!(plain(wrong), Err(SaslError::Plain), "{wrong:?}");
        }
    }

    #[test]
    fn amqplain_is_a_table_without_its_size() {
        let response = b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x06secret";
        assert_eq!(amqplain(response), Ok(GUEST));
        let refused = |table: Table| amqplain(table.encode().as_raw().as_bytes()).map(|_| ());
        assert_eq!(refused(Table::default().with("LOGIN", "a")), Err(SaslError::Missing));
        assert_eq!(refused(Table::default().with("LOGIN", "a").with("PASSWORD", 1)), Err(SaslError::Type));
        assert_eq!(amqplain(&response[..20]).map(|_| ()), Err(SaslError::NoTable));
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(format!("{GUEST:?}"), "Credentials(\"guest\")");
    }
}
