//! Somebody with a browser that only does what it must.

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};

use super::OpenId;
use crate::harness::{Client, Response, Service, service::query};

/// Somebody who wants to sign in: what they are called at the provider, and the cookies that it set.
pub(crate) struct Visitor<'a> {
    provider: &'a OpenId,
    name: &'a str,
    cookies: BTreeMap<String, String>,
}

/// A cookie that an answer sets, as it is sent back.
pub(crate) fn cookie_of(answer: &Response, name: &str) -> Option<String> {
    let set = answer.headers.get_all("set-cookie").iter();
    set.map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap())
        .find(|cookie| cookie.split('=').next() == Some(name))
        .map(str::to_owned)
}

/// Where an answer sends a browser.
pub(crate) fn place(answer: &Response) -> &str {
    assert_eq!(answer.status, 303, "{answer:?}");
    answer.header("location").unwrap()
}

impl<'a> Visitor<'a> {
    pub(crate) fn new(provider: &'a OpenId, name: &'a str) -> Self {
        Self {
            provider,
            name,
            cookies: BTreeMap::new(),
        }
    }

    /// The whole way: to the provider, signs in there, and back; or as far as it goes. Returns the last answer.
    pub(crate) async fn sign_in(&mut self, service: &Service) -> Response {
        let answer = self.begin(service, "/").await;
        if !place(&answer).starts_with(&self.provider.issuer) {
            return answer;
        }
        let (cookie, callback) = self.come_back(service, &answer).await;
        let client = service.nobody().header("cookie", &cookie);
        client.ask(&callback).await
    }

    /// The same, and a client with the session that it came to.
    pub(crate) async fn client(&mut self, service: &Service) -> Client {
        let answer = self.sign_in(service).await;
        let cookie = cookie_of(&answer, "ruad_session");
        let cookie = cookie.unwrap_or_else(|| panic!("{answer:?}"));
        service.nobody().header("cookie", &cookie)
    }

    /// All but the last step: the cookie of the attempt, and the path that the provider sends the browser to.
    pub(crate) async fn until_back(
        &mut self,
        service: &Service,
        return_to: &str,
    ) -> (String, String) {
        let answer = self.begin(service, return_to).await;
        self.come_back(service, &answer).await
    }

    async fn begin(&self, service: &Service, return_to: &str) -> Response {
        let path = format!("/api/v1/session/oidc?return_to={}", query(return_to));
        service.nobody().ask(&path).await
    }

    async fn come_back(&mut self, service: &Service, begun: &Response) -> (String, String) {
        let cookie = cookie_of(begun, "ruad_oidc").unwrap_or_else(|| panic!("{begun:?}"));
        let callback = self.at_provider(place(begun)).await;
        let origin = format!("http://{}", service.address);
        let callback = callback.strip_prefix(&origin).unwrap().to_owned();
        (cookie, callback)
    }

    /// Signs in at the provider; returns where it sends the browser back to.
    async fn at_provider(&mut self, url: &str) -> String {
        let form = format!("prompt=login&login={}&password=x", self.name);
        let mut place = url.to_owned();
        loop {
            let Some(path) = place.strip_prefix(&self.provider.issuer) else {
                if place.starts_with("http") {
                    return place;
                }
                panic!("{place}")
            };
            let answer = if path.starts_with("/interaction/") {
                self.ask(Method::POST, path, &form).await
            } else {
                self.ask(Method::GET, path, "").await
            };
            let next = answer.header("location");
            let next = next.unwrap_or_else(|| panic!("{path}: {answer:?}"));
            place = match next.strip_prefix('/') {
                Some(_) => format!("{}{next}", self.provider.issuer),
                None => next.to_owned(),
            };
        }
    }

    async fn ask(&mut self, method: Method, path: &str, form: &str) -> Response {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("cookie", cookies.join("; "))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form.to_owned())))
            .unwrap();
        let answer = self.provider.send(request).await;
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = cookie.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        answer
    }
}
