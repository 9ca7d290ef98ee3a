//! What can go wrong with a request, and the one file that gives codes their HTTP status.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use strongroom_intake::Code;

/// Why a request is not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The archive says no, or cannot.
    #[error(transparent)]
    Archive(#[from] strongroom_intake::Error),
    /// It was refused before the archive was asked.
    #[error("{message}")]
    Refused {
        /// Under which code docs/errors.md explains it.
        code: Code,
        /// What is wrong.
        message: String,
        /// After how many seconds it is worth asking again.
        retry_seconds: Option<u64>,
    },
    /// The service cannot run.
    #[error("{doing}: {source}")]
    Io {
        /// What it was about to do.
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn refused(code: Code, message: impl Into<String>) -> Error {
        Error::Refused { code, message: message.into(), retry_seconds: None }
    }
    pub(crate) fn usage(message: impl Into<String>) -> Error {
        Error::refused(Code::Usage, message)
    }
    pub(crate) fn not_found(message: impl Into<String>) -> Error {
        Error::refused(Code::NotFound, message)
    }
    pub(crate) fn busy(message: impl Into<String>) -> Error {
        let retry_seconds = Some(1);
        Error::Refused { code: Code::Busy, message: message.into(), retry_seconds }
    }
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        let doing = doing.into();
        move |source| Error::Io { doing, source }
    }

    /// The code under which docs/errors.md explains it.
    pub fn code(&self) -> Code {
        match self {
            Error::Archive(error) => error.code(),
            Error::Refused { code, .. } => *code,
            Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Code::NoRoom
            }
            Error::Io { .. } => Code::Internal,
        }
    }
}

impl From<strongroom_registry::Error> for Error {
    fn from(error: strongroom_registry::Error) -> Error {
        strongroom_intake::Error::from(error).into()
    }
}

impl From<strongroom_record::Error> for Error {
    fn from(error: strongroom_record::Error) -> Error {
        strongroom_intake::Error::from(error).into()
    }
}

/// The status that tells a client what kind of failure a code is.
pub fn status(code: Code) -> StatusCode {
    match code {
        Code::Usage | Code::Ambiguous => StatusCode::BAD_REQUEST,
        Code::Unauthorized => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Conflict
        | Code::SourceDiffers
        | Code::SourceChanged
        | Code::TargetExists
        | Code::ShelfTaken
        | Code::Outdated
        | Code::Paused => StatusCode::CONFLICT,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::SourceRefused => StatusCode::UNPROCESSABLE_ENTITY,
        Code::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        Code::Busy
        | Code::LeaseLost
        | Code::Interrupted
        | Code::ShelvesMissing
        | Code::KeyMissing
        | Code::KeyLocked
        | Code::KeyOld
        | Code::RegistryBehind => StatusCode::SERVICE_UNAVAILABLE,
        Code::NoRoom | Code::Quota => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What is behind a failure of the server's own is logged, not told.
impl IntoResponse for Error {
    fn into_response(self) -> Response<Body> {
        let (code, status) = (self.code(), status(self.code()));
        let detail = match status {
            StatusCode::INTERNAL_SERVER_ERROR => {
                tracing::error!(code = code.word(), error = %self, "a request failed");
                "the server could not do it; its log says why".to_string()
            }
            _ => self.to_string(),
        };
        let mut response = problem(status, code, &detail);
        if let Error::Refused { retry_seconds: Some(seconds), .. } = self {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// A failure as RFC 9457 has it.
pub(crate) fn problem(status: StatusCode, code: Code, detail: &str) -> Response<Body> {
    let body = serde_json::json!({
        "type": format!("urn:strongroom:error:{}", code.word()),
        "title": code.word(),
        "status": status.as_u16(),
        "detail": detail,
        "code": code.word(),
        "remedy": code.remedy(),
    });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/problem+json");
    headers.insert(header::CONTENT_TYPE, json);
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
