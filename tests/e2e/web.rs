//! The web page, in a real browser. Start reading at [`filled`], then at `flows.rs`.

mod api;
mod axe;
mod filled;
mod flows;
mod hostile;
mod pictures;
mod shell;
mod sign_in;
mod tokens;

use filled::{Filled, filled};
