use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The last bytes of a worker's output, for the error that explains its death.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tail(Arc<Mutex<VecDeque<u8>>>);

const MOST: usize = 16 * 1024;

impl Tail {
    pub(crate) fn keep(&self, bytes: &[u8]) {
        let mut tail = self.lock();
        tail.extend(bytes);
        let excess = tail.len().saturating_sub(MOST);
        tail.drain(..excess);
    }

    pub(crate) fn text(&self) -> String {
        let bytes: Vec<u8> = self.lock().iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_holds_the_last_bytes() {
        let tail = Tail::default();
        for _ in 0..100 {
            tail.keep(&[b'x'; 1000]);
        }
        tail.keep(b"end");
        let text = tail.text();
        assert_eq!(text.len(), MOST);
        assert!(text.ends_with("xend"));
    }
}
