use std::{
    fmt,
    io::{self, ErrorKind, Write},
    thread,
    time::Duration,
};

/// The pause before another attempt, after an output would have blocked.
const PAUSE: Duration = Duration::from_millis(1);

/// The output of lines.
pub(crate) struct Output {
    to: Box<dyn Write + Send>,
    /// Whether the last write ended within a line.
    is_partial: bool,
}

impl Output {
    pub(crate) fn new(to: Box<dyn Write + Send>) -> Self {
        Self {
            to,
            is_partial: false,
        }
    }

    /// Writes whole lines, with one write if the output takes them. After a failure within a line, the next write
    /// starts a new line.
    pub(crate) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.is_partial {
            self.write_some(b"\n")?;
            self.is_partial = false;
        }
        let mut rest = lines;
        while !rest.is_empty() {
            match self.write_some(rest) {
                Ok(count) => {
                    let (done, left) = rest.split_at(count.min(rest.len()));
                    self.is_partial = !done.ends_with(b"\n");
                    rest = left;
                }
                Err(error) => return Err(error),
            }
        }
        self.to.flush()
    }

    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.to.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another process with the same terminal or pipe may have made it non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
                result => return result,
            }
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("is_partial", &self.is_partial)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Takes what the script says, then everything.
    struct Scripted {
        script: Vec<io::Result<usize>>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.script.pop().unwrap_or(Ok(bytes.len()))?;
            self.taken
                .lock()
                .unwrap()
                .extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn output(mut script: Vec<io::Result<usize>>) -> (Output, Arc<Mutex<Vec<u8>>>) {
        script.reverse();
        let taken = Arc::default();
        let scripted = Scripted {
            script,
            taken: Arc::clone(&taken),
        };
        (Output::new(Box::new(scripted)), taken)
    }

    #[test]
    fn what_the_output_takes_in_parts_arrives_whole() {
        let script = vec![
            Ok(2),
            Err(ErrorKind::Interrupted.into()),
            Err(ErrorKind::WouldBlock.into()),
            Ok(1),
        ];
        let (mut output, taken) = output(script);
        output.write(b"one\ntwo\n").unwrap();
        assert_eq!(*taken.lock().unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn after_a_torn_line_the_next_begins_a_new_one() {
        let (mut output, taken) = output(vec![Ok(6), Err(ErrorKind::StorageFull.into())]);
        assert!(output.write(b"one\ntwo\n").is_err());
        output.write(b"three\n").unwrap();
        assert_eq!(*taken.lock().unwrap(), b"one\ntw\nthree\n");
    }

    #[test]
    fn after_a_failure_between_lines_no_empty_line_is_written() {
        let (mut output, taken) = output(vec![Ok(4), Err(ErrorKind::StorageFull.into())]);
        assert!(output.write(b"one\ntwo\n").is_err());
        output.write(b"three\n").unwrap();
        assert_eq!(*taken.lock().unwrap(), b"one\nthree\n");
    }
}
