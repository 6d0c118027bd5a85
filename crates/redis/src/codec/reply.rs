//! [`Reply`]: what a command answers, in the form that the connection has chosen.

use super::decimal;

/// Writes replies. Where RESP2 has no such type it is written as clients of RESP2 expect it: a map as an array of twice as many, a
/// null as a bulk string of less than nothing.
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    resp3: bool,
}

impl<'a> Reply<'a> {
    /// A writer behind what `out` holds.
    pub fn new(out: &'a mut Vec<u8>, resp3: bool) -> Self {
        Self { out, resp3 }
    }

    /// From now on in this form.
    pub fn set_resp3(&mut self, resp3: bool) {
        self.resp3 = resp3;
    }

    /// Takes out what is written so far.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.out)
    }

    /// A short text that is no data: `+OK`.
    pub fn simple(&mut self, text: &str) {
        self.out.push(b'+');
        self.out.extend_from_slice(text.as_bytes());
        self.end();
    }

    /// An error. Line ends within it become spaces: it may quote the client.
    pub fn error(&mut self, text: &[u8]) {
        self.out.push(b'-');
        self.out.extend(text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
        self.end();
    }

    /// A whole number.
    pub fn integer(&mut self, number: i64) {
        self.out.push(b':');
        if number < 0 {
            self.out.push(b'-');
        }
        decimal(self.out, number.unsigned_abs());
        self.end();
    }

    /// Bytes.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.head(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.end();
    }

    /// Text for people; clients of RESP3 are told that it is.
    pub fn verbatim(&mut self, text: &[u8]) {
        if !self.resp3 {
            return self.bulk(text);
        }
        self.head(b'=', text.len() + 4);
        self.out.extend_from_slice(b"txt:");
        self.out.extend_from_slice(text);
        self.end();
    }

    /// Nothing, where bytes or anything else may stand.
    pub fn null(&mut self) {
        self.out.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// Yes or no; a number to clients of RESP2.
    pub fn boolean(&mut self, yes: bool) {
        match (self.resp3, yes) {
            (true, true) => self.out.extend_from_slice(b"#t\r\n"),
            (true, false) => self.out.extend_from_slice(b"#f\r\n"),
            (false, _) => self.integer(i64::from(yes)),
        }
    }

    /// `length` elements follow.
    pub fn array(&mut self, length: usize) {
        self.head(b'*', length);
    }

    /// `length` pairs follow.
    pub fn map(&mut self, length: usize) {
        if self.resp3 { self.head(b'%', length) } else { self.head(b'*', 2 * length) }
    }

    /// `length` elements without order follow.
    pub fn set(&mut self, length: usize) {
        self.head(if self.resp3 { b'~' } else { b'*' }, length);
    }

    /// `length` elements follow that nobody asked for.
    pub fn push(&mut self, length: usize) {
        self.head(if self.resp3 { b'>' } else { b'*' }, length);
    }

    fn head(&mut self, kind: u8, length: usize) {
        self.out.push(kind);
        decimal(self.out, length as u64);
        self.end();
    }

    fn end(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::Reply;

    fn both(write: impl Fn(&mut Reply<'_>)) -> [String; 2] {
        [false, true].map(|resp3| {
            let mut out = Vec::new();
            write(&mut Reply::new(&mut out, resp3));
            String::from_utf8(out).expect("text").replace("\r\n", "|")
        })
    }

    #[test]
    fn each_type_is_written_as_clients_of_either_version_expect_it() {
        assert_eq!(both(|it| it.simple("OK")), ["+OK|", "+OK|"]);
        assert_eq!(both(|it| it.error(b"ERR a\r\nb")), ["-ERR a  b|", "-ERR a  b|"]);
        assert_eq!(both(|it| it.integer(i64::MIN)), [":-9223372036854775808|", ":-9223372036854775808|"]);
        assert_eq!(both(|it| it.integer(120)), [":120|", ":120|"]);
        assert_eq!(both(|it| it.bulk(b"a\r\nb")), ["$4|a|b|", "$4|a|b|"]);
        assert_eq!(both(|it| it.verbatim(b"ab")), ["$2|ab|", "=6|txt:ab|"]);
        assert_eq!(both(|it| it.null()), ["$-1|", "_|"]);
        assert_eq!(both(|it| it.boolean(true)), [":1|", "#t|"]);
        assert_eq!(both(|it| it.boolean(false)), [":0|", "#f|"]);
        assert_eq!(both(|it| it.array(2)), ["*2|", "*2|"]);
        assert_eq!(both(|it| it.map(2)), ["*4|", "%2|"]);
        assert_eq!(both(|it| it.set(2)), ["*2|", "~2|"]);
        assert_eq!(both(|it| it.push(12)), ["*12|", ">12|"]);
    }
}
