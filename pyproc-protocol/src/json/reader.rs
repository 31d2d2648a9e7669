//! Reads the tokens of a JSON text.

use std::ops::Range;

use super::{Refused, Result, decimal, scan};

/// A JSON text and a position in it. Before a method takes a token, [`peek`](Self::peek) must have returned its first
/// byte. The method refuses anything that is not such a token.
#[derive(Debug)]
pub struct Reader<'a> {
    json: &'a [u8],
    at: usize,
    unescaped: Vec<u8>,
    levels: usize,
}

/// A decoded number.
#[derive(Debug)]
pub enum Number<'a> {
    /// An integer of at most 19 digits.
    Integer {
        /// Whether it has a minus sign; minus zero has one, too.
        is_negative: bool,
        /// The value without its sign.
        magnitude: u64,
    },
    /// An integer of more digits, with its sign.
    Large(&'a str),
    /// A number with a point or an exponent, correctly rounded; infinite if it is too large for a float.
    Float(f64),
}

/// Integers with this many digits always fit into 64 bits.
const CERTAIN_DIGITS: usize = 19;

impl<'a> Reader<'a> {
    /// A reader at the start of `json`. At most `levels` arrays and objects may be open at a time.
    pub fn new(json: &'a [u8], levels: usize) -> Self {
        Self {
            json,
            at: 0,
            unescaped: Vec::new(),
            levels,
        }
    }

    /// The position: number of bytes taken.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// The first byte of the next token. It is not taken.
    #[inline]
    pub fn peek(&mut self) -> Result<u8> {
        match self.json.get(self.at) {
            Some(byte) if *byte > b' ' => Ok(*byte),
            _ => self.peek_after_space().ok_or(Refused),
        }
    }

    #[cold]
    fn peek_after_space(&mut self) -> Option<u8> {
        loop {
            match self.json.get(self.at)? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(*byte),
            }
        }
    }

    /// Whether only white space is left.
    pub fn is_at_end(&mut self) -> bool {
        self.peek_after_space().is_none()
    }

    /// Takes a token of one byte. It needs no `peek` before.
    #[inline]
    pub fn take(&mut self, wanted: u8) -> Result {
        if self.peek()? != wanted {
            return Err(Refused);
        }
        self.at += 1;
        Ok(())
    }

    /// Takes a literal such as `true`.
    #[inline]
    pub fn word(&mut self, word: &str) -> Result {
        if !self.json[self.at..].starts_with(word.as_bytes()) {
            return Err(Refused);
        }
        self.at += word.len();
        Ok(())
    }

    /// Takes the first byte of an array or object.
    #[inline]
    pub fn open(&mut self) -> Result {
        self.levels = self.levels.checked_sub(1).ok_or(Refused)?;
        self.at += 1;
        Ok(())
    }

    /// Whether an array or object has another element or member. Takes the comma before it, unless it is the first.
    #[inline]
    pub fn has_more(&mut self, is_first: bool, end: u8) -> Result<bool> {
        match self.peek()? {
            byte if byte == end => Ok(false),
            _ if is_first => Ok(true),
            b',' => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(Refused),
        }
    }

    /// Takes the last byte of an array or object. It needs no `peek` before.
    #[inline]
    pub fn close(&mut self, end: u8) -> Result {
        self.levels += 1;
        self.take(end)
    }

    /// Takes a string. Returns the range of its content; `None` if it has escapes, then it is
    /// [`unescaped`](Self::unescaped).
    // Inlined: a call would take as long as most strings.
    #[inline(always)]
    pub fn string(&mut self) -> Result<Option<Range<usize>>> {
        self.at += 1;
        let content = self.plain();
        if self.json.get(self.at) == Some(&b'"') {
            self.at += 1;
            return Ok(Some(content));
        }
        self.unescape(content)?;
        Ok(None)
    }

    /// The last string with escapes, decoded. It is UTF-8 if the text is.
    pub fn unescaped(&self) -> &[u8] {
        &self.unescaped
    }

    /// Takes the bytes of a string up to the next escape or quote.
    #[inline]
    fn plain(&mut self) -> Range<usize> {
        let start = self.at;
        self.at += scan::plain(&self.json[start..]);
        start..self.at
    }

    /// Takes the rest of a string that begins with `plain`.
    #[cold]
    fn unescape(&mut self, mut plain: Range<usize>) -> Result {
        self.unescaped.clear();
        loop {
            self.unescaped.extend_from_slice(&self.json[plain]);
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => self.escape()?,
                _ => return Err(Refused),
            }
            plain = self.plain();
        }
    }

    #[inline]
    fn escape(&mut self) -> Result {
        let byte = match self.next()? {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'u' => {
                let mut utf8 = [0; 4];
                let utf8 = self.unicode()?.encode_utf8(&mut utf8).as_bytes();
                self.unescaped.extend_from_slice(utf8);
                return Ok(());
            }
            _ => return Err(Refused),
        };
        self.unescaped.push(byte);
        Ok(())
    }

    /// The character of one `\u` escape, or of two that form a surrogate pair.
    fn unicode(&mut self) -> Result<char> {
        let first = self.four_digits()?;
        let code = match first {
            0xD800..0xDC00 => {
                if [self.next()?, self.next()?] != *b"\\u" {
                    return Err(Refused);
                }
                match self.four_digits()? {
                    second @ 0xDC00..0xE000 => {
                        0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
                    }
                    _ => return Err(Refused),
                }
            }
            code => code,
        };
        char::from_u32(code).ok_or(Refused)
    }

    fn four_digits(&mut self) -> Result<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = char::from(self.next()?).to_digit(16);
            code = code << 4 | digit.ok_or(Refused)?;
        }
        Ok(code)
    }

    fn next(&mut self) -> Result<u8> {
        let byte = self.json.get(self.at).ok_or(Refused)?;
        self.at += 1;
        Ok(*byte)
    }

    /// Takes a number.
    #[inline]
    pub fn number(&mut self) -> Result<Number<'a>> {
        let start = self.at;
        let is_negative = self.skip_if(|byte| byte == b'-');
        let first_digit = self.at;
        let magnitude = self.digits()?;
        let digits = self.at - first_digit;
        if digits > 1 && self.json[first_digit] == b'0' {
            return Err(Refused);
        }
        match self.json.get(self.at) {
            Some(b'.' | b'e' | b'E') => self.float(start, magnitude),
            _ if digits > CERTAIN_DIGITS => self.since(start).map(Number::Large),
            _ => Ok(Number::Integer {
                is_negative,
                magnitude,
            }),
        }
    }

    /// Takes the rest of a number that begins at `start` and has a point or an exponent.
    fn float(&mut self, start: usize, whole: u64) -> Result<Number<'a>> {
        if self.json[self.at] == b'.' {
            let behind_point = &self.json[self.at + 1..];
            if let Some((value, decimals)) = decimal::read_short(whole, behind_point) {
                let len = self.at - start + 1 + decimals;
                if len <= CERTAIN_DIGITS {
                    self.at = start + len;
                    let is_negative = self.json[start] == b'-';
                    return Ok(Number::Float(if is_negative { -value } else { value }));
                }
            }
            if !behind_point.first().is_some_and(u8::is_ascii_digit) {
                return Err(Refused);
            }
        }
        let number = fast_float2::parse_partial(&self.json[start..]);
        let (value, len) = number.map_err(|_| Refused)?;
        self.at = start + len;
        Ok(Number::Float(value))
    }

    #[cold]
    fn since(&self, start: usize) -> Result<&'a str> {
        let json: &'a [u8] = self.json;
        std::str::from_utf8(&json[start..self.at]).map_err(|_| Refused)
    }

    /// Takes at least one digit. The value is correct for up to 19 digits.
    #[inline]
    fn digits(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        let start = self.at;
        while let Some(digit @ b'0'..=b'9') = self.json.get(self.at) {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        if self.at == start {
            return Err(Refused);
        }
        Ok(value)
    }

    #[inline]
    fn skip_if(&mut self, wanted: impl Fn(u8) -> bool) -> bool {
        let found = self.json.get(self.at).is_some_and(|byte| wanted(*byte));
        self.at += usize::from(found);
        found
    }
}
