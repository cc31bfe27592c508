//! Lists as CSV and as NDJSON: the whole list, page by page.
//!
//! An export asks the handler of the list for one page of JSON after another and writes its items in another form. So it
//! sees what the list shows to whoever asks, it knows no list by name, and it holds one page and no database connection
//! while the client reads.

mod columns;
mod csv;
mod describe;
mod format;

use std::{collections::HashMap, io, sync::LazyLock};

use axum::{
    body::{self, Body},
    extract::{self, MatchedPath, Request},
    http::{HeaderValue, Method, StatusCode, Uri, Version, header, request::Parts},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use serde_json::value::RawValue;

pub use self::csv::csv_cell;
pub(crate) use self::describe::describe;
use self::format::{Asked, Format};
use crate::{Error, State, access, cursor, routes};

/// Items asked for at a time.
const PAGE: u32 = 1_000;

/// Each page of sources adds up all sources of the domain, so few and long pages are made. They are short texts.
const PAGE_OF_SOURCES: u32 = 10_000;

/// What is known of a list from the OpenAPI document.
struct List {
    columns: columns::Columns,
    /// Items asked for at a time; `None` where the list has only one page.
    page: Option<u32>,
}

/// The lists, by their path.
static LISTS: LazyLock<HashMap<String, List>> = LazyLock::new(|| {
    let document = serde_json::to_value(routes::openapi());
    let document = document.expect("the document has strings for keys");
    let lists = columns::lists(&document).into_iter();
    lists
        .map(|(path, columns, is_paged)| {
            let page = if path.ends_with("/sources") {
                PAGE_OF_SOURCES
            } else {
                PAGE
            };
            let page = is_paged.then_some(page);
            (path, List { columns, page })
        })
        .collect()
});

/// Answers requests for lists in the form they ask for, and leaves all others alone.
pub(crate) async fn export(
    extract::State(state): extract::State<State>,
    mut request: Request,
    next: Next,
) -> Result<Response, Error> {
    let path = request.extensions().get::<MatchedPath>();
    let Some(list) = path.and_then(|path| LISTS.get(path.as_str())) else {
        return Ok(next.run(request).await);
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(next.run(request).await);
    }
    let asked = Asked::read(request.uri().query(), request.headers())?;
    let (format, query) = (asked.format, asked.query.join("&"));
    if asked.is_in_query {
        *request.uri_mut() = with_query(request.uri(), &query)?;
    }
    let mut response = if format == Format::Json {
        next.run(request).await
    } else {
        let export = Export {
            list,
            format,
            page: list.page.filter(|_| asked.limit.is_none()),
            query: asked.query,
            state,
            parts: request.into_parts().0,
            next,
        };
        export.answer(asked.cursor).await?
    };
    let vary = HeaderValue::from_static("accept");
    response.headers_mut().append(header::VARY, vary);
    Ok(response)
}

/// A request for a whole list.
struct Export {
    list: &'static List,
    format: Format,
    /// Items asked for at a time; `None` for a single page of the length that the client wants.
    page: Option<u32>,
    /// The parameters but for `cursor` and `format`.
    query: Vec<String>,
    state: State,
    parts: Parts,
    next: Next,
}

/// A page of a list, as its handler answers.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
    next: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

impl Export {
    async fn answer(self, cursor: Option<String>) -> Result<Response, Error> {
        let first = self.ask(cursor.as_deref()).await?;
        if first.status() != StatusCode::OK {
            return Ok(first);
        }
        let body = collect(first).await.map_err(Error::Export)?;
        let page: Page<'_> = read(&body).map_err(Error::Export)?;
        let mut out = self.format.head(&self.list.columns);
        self.format.write(&page.items, &self.list.columns, &mut out);
        let mut response = Response::builder()
            .header(header::CONTENT_TYPE, self.format.media_type())
            .header(header::CONTENT_DISPOSITION, self.disposition(&page));
        let body = match page.next {
            None => Body::from(out),
            Some(cursor) if self.page.is_none() => {
                let query = self.query.iter().map(String::as_str);
                let query: Vec<&str> = query.chain(["cursor="]).collect();
                let link = format!("<?{}{cursor}>; rel=\"next\"", query.join("&"));
                response = response.header(header::LINK, link);
                Body::from(out)
            }
            // Without chunks, a list that breaks off looks like one that ends.
            Some(_) if self.parts.version < Version::HTTP_11 => return Err(Error::OldHttp),
            Some(cursor) => {
                let rest = stream::try_unfold(Some((self, cursor)), |rest| async {
                    let Some((mut export, cursor)) = rest else {
                        return Ok(None);
                    };
                    let (piece, cursor) = export.piece(&cursor).await.inspect_err(|error| {
                        tracing::warn!(%error, "an export broke off");
                    })?;
                    let rest = cursor.map(|cursor| (export, cursor));
                    Ok::<_, io::Error>(Some((piece, rest)))
                });
                let first = stream::once(async { Ok(Bytes::from(out)) });
                Body::from_stream(futures_util::StreamExt::chain(first, rest))
            }
        };
        Ok(response.body(body).expect("each header is valid by itself"))
    }

    /// The items from a cursor on, and the cursor to what follows them. An error breaks the connection: the status has
    /// been sent, and nothing else tells the client.
    async fn piece(&mut self, cursor: &str) -> io::Result<(Bytes, Option<String>)> {
        let readmitted = access::readmit(&self.state, &mut self.parts).await;
        readmitted.map_err(io::Error::other)?;
        let response = self.ask(Some(cursor)).await.map_err(io::Error::other)?;
        let status = response.status();
        let body = collect(response).await?;
        if status != StatusCode::OK {
            let text = String::from_utf8_lossy(&body);
            return Err(io::Error::other(format!(
                "a page is answered {status}: {text}"
            )));
        }
        let page: Page<'_> = read(&body)?;
        let mut out = Vec::new();
        self.format.write(&page.items, &self.list.columns, &mut out);
        Ok((out.into(), page.next))
    }

    /// Asks the handler for a page.
    async fn ask(&self, cursor: Option<&str>) -> Result<Response, Error> {
        let mut query = self.query.clone();
        query.extend(cursor.map(|cursor| format!("cursor={cursor}")));
        query.extend(self.page.map(|page| format!("limit={page}")));
        let mut parts = self.parts.clone();
        parts.method = Method::GET;
        parts.uri = with_query(&parts.uri, &query.join("&"))?;
        let answer = self
            .next
            .clone()
            .run(Request::from_parts(parts, Body::empty()));
        Ok(match self.page {
            Some(page) => cursor::with_limit_max(page, answer).await,
            None => answer.await,
        })
    }

    /// A file name of what was asked for and the days it is about.
    fn disposition(&self, page: &Page<'_>) -> String {
        let path = self.parts.uri.path().trim_start_matches("/api/v1/");
        let days = [page.from.as_deref(), page.to.as_deref()];
        let name: Vec<&str> = path.split('/').chain(days.into_iter().flatten()).collect();
        let name: String = name
            .join("-")
            .chars()
            .map(|char| match char {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' => char,
                _ => '_',
            })
            .take(150)
            .collect();
        format!(
            "attachment; filename=\"{name}.{}\"",
            self.format.extension()
        )
    }
}

async fn collect(response: Response) -> io::Result<Bytes> {
    let body = body::to_bytes(response.into_body(), usize::MAX);
    body.await.map_err(io::Error::other)
}

fn read(body: &[u8]) -> io::Result<Page<'_>> {
    serde_json::from_slice(body).map_err(io::Error::other)
}

/// The same path with another query.
fn with_query(uri: &Uri, query: &str) -> Result<Uri, Error> {
    let separator = if query.is_empty() { "" } else { "?" };
    [uri.path(), separator, query]
        .concat()
        .parse()
        .map_err(|_| Error::BadQuery("the query is too long or not well-formed".into()))
}
