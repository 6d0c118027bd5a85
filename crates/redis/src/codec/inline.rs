//! Inline commands: words between spaces, with quotes, as one types them into a terminal.

/// Splits a line without its end into words: their bytes go to `text`, their places there to `places`. False if a quote is not
/// closed, or if something follows a closed one at once.
pub fn split(line: &[u8], text: &mut Vec<u8>, places: &mut Vec<(u32, u32)>) -> bool {
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|byte| is_space(*byte)) {
            at += 1;
        }
        if at == line.len() {
            return true;
        }
        let begin = text.len();
        match word(line, at, text) {
            Some(end) => at = end,
            None => return false,
        }
        places.push((begin as u32, text.len() as u32));
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Where the word ends that begins at `at`.
fn word(line: &[u8], mut at: usize, text: &mut Vec<u8>) -> Option<usize> {
    while let Some(&byte) = line.get(at) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => break,
            b'"' | b'\'' => {
                let end = quoted(line, at + 1, byte, text)?;
                return line.get(end).is_none_or(|byte| is_space(*byte)).then_some(end);
            }
            _ => text.push(byte),
        }
        at += 1;
    }
    Some(at)
}

/// Where the text ends, its quote included, that begins at `at`.
fn quoted(line: &[u8], mut at: usize, quote: u8, text: &mut Vec<u8>) -> Option<usize> {
    loop {
        let byte = *line.get(at)?;
        if byte == quote {
            return Some(at + 1);
        }
        match (quote, byte, line.get(at + 1)) {
            (b'"', b'\\', Some(&escaped)) => {
                let (byte, length) = unescaped(&line[at + 1..], escaped);
                text.push(byte);
                at += 1 + length;
            }
            (b'\'', b'\\', Some(b'\'')) => {
                text.push(b'\'');
                at += 2;
            }
            _ => {
                text.push(byte);
                at += 1;
            }
        }
    }
}

/// What stands behind a backslash, and how long it is.
fn unescaped(rest: &[u8], escaped: u8) -> (u8, usize) {
    let hex = |at: usize| rest.get(at).and_then(|digit| char::from(*digit).to_digit(16));
    match (escaped, hex(1), hex(2)) {
        (b'x', Some(high), Some(low)) => ((high * 16 + low) as u8, 3),
        (b'n', ..) => (b'\n', 1),
        (b'r', ..) => (b'\r', 1),
        (b't', ..) => (b'\t', 1),
        (b'b', ..) => (8, 1),
        (b'a', ..) => (7, 1),
        (other, ..) => (other, 1),
    }
}
