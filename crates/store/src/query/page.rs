//! Pages of lists whose items may be large.

/// What the items of a page may take together, as JSON. A thousand items of honest reports take less; a hostile report has
/// records of megabytes each.
pub(crate) const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Some items of a list, in its order.
#[derive(Clone, Debug)]
pub struct Page<R> {
    /// As many as asked for and there are, or as many as one answer may hold: at least one.
    pub rows: Vec<R>,
    /// Whether it ends because of its size: the list may go on.
    pub is_cut: bool,
    row_max: usize,
    bytes: usize,
}

impl<R> Page<R> {
    pub(crate) fn new(row_max: i64) -> Self {
        Self {
            rows: Vec::new(),
            is_cut: false,
            row_max: usize::try_from(row_max).unwrap_or(0),
            bytes: 0,
        }
    }

    /// How many items there may still be.
    pub(crate) fn room(&self) -> usize {
        match self.is_cut {
            true => 0,
            false => self.row_max - self.rows.len(),
        }
    }

    /// Adds an item that takes so many bytes. `false` if it has no room: then nothing may follow.
    pub(crate) fn add(&mut self, row: R, bytes: usize) -> bool {
        if self.room() == 0 {
            return false;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.is_cut = self.bytes > PAGE_BYTES_MAX;
        if self.is_cut && !self.rows.is_empty() {
            return false;
        }
        self.rows.push(row);
        true
    }
}

/// What JSON takes once it is read and written again: each object names its fields then, also those it does not have.
pub(crate) fn json_bytes(json: &str) -> usize {
    const OBJECT_BYTES: usize = 100;
    let objects = json.bytes().filter(|byte| *byte == b'{').count();
    json.len() + objects * OBJECT_BYTES
}

pub(crate) fn text_bytes(text: &Option<String>) -> usize {
    text.as_ref().map_or(0, String::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_where_it_is_full() {
        let mut page = Page::new(2);
        assert!(page.add(1, 10) && page.add(2, 10));
        assert!(!page.add(3, 10));
        assert_eq!((page.rows, page.is_cut), (vec![1, 2], false));
    }

    #[test]
    fn a_page_ends_before_it_is_too_large() {
        let mut page = Page::new(10);
        assert!(page.add(1, PAGE_BYTES_MAX - 10));
        assert!(!page.add(2, 11));
        assert!(!page.add(3, 1), "nothing is left out in between");
        assert_eq!((page.rows, page.is_cut), (vec![1], true));
    }

    #[test]
    fn an_item_larger_than_a_page_is_one() {
        let mut page = Page::new(10);
        assert!(page.add(1, PAGE_BYTES_MAX + 1));
        assert!(!page.add(2, 1));
        assert_eq!((page.rows, page.is_cut), (vec![1], true));
    }
}
