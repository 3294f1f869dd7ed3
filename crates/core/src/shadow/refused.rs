//! Why a shadow request is refused: code and text of each, as AWS documents them. Clients match on both.

/// A refused shadow request. `Display` is the message on the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("Invalid JSON")]
    InvalidJson,
    #[error("Missing required node: state")]
    MissingState,
    #[error("State node must be an object")]
    StateNotObject,
    #[error("Desired node must be an object")]
    DesiredNotObject,
    #[error("Reported node must be an object")]
    ReportedNotObject,
    #[error("Invalid version")]
    InvalidVersion,
    #[error("Invalid clientToken")]
    InvalidClientToken,
    #[error("JSON contains too many levels of nesting; maximum is 6")]
    TooDeep,
    #[error("State contains an invalid node")]
    InvalidNode,
    #[error("Unauthorized")]
    Unauthorized,
    #[error("Forbidden")]
    Forbidden,
    #[error("Thing not found")]
    NoThing,
    #[error("No shadow exists with name: {name}")]
    NoShadow { name: String },
    #[error("Version conflict")]
    VersionConflict,
    #[error("The payload exceeds the maximum size allowed")]
    TooLarge,
    #[error("Unsupported documented encoding; supported encoding is UTF-8")]
    NotUtf8,
    #[error("Too Many Requests")]
    TooManyRequests,
    #[error("Internal service failure")]
    Internal,
}

impl Refused {
    /// The code in the body, which is also the HTTP status.
    pub const fn code(&self) -> u16 {
        match self {
            Self::InvalidJson
            | Self::MissingState
            | Self::StateNotObject
            | Self::DesiredNotObject
            | Self::ReportedNotObject
            | Self::InvalidVersion
            | Self::InvalidClientToken
            | Self::TooDeep
            | Self::InvalidNode => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NoThing | Self::NoShadow { .. } => 404,
            Self::VersionConflict => 409,
            Self::TooLarge => 413,
            Self::NotUtf8 => 415,
            Self::TooManyRequests => 429,
            Self::Internal => 500,
        }
    }

    /// The name of the exception in `x-amzn-ErrorType`, from which botocore makes its error class.
    pub const fn error_type(&self) -> &'static str {
        match self.code() {
            401 => "UnauthorizedException",
            403 => "ForbiddenException",
            404 => "ResourceNotFoundException",
            409 => "ConflictException",
            413 => "RequestEntityTooLargeException",
            415 => "UnsupportedDocumentEncodingException",
            429 => "ThrottlingException",
            500 => "InternalFailureException",
            _ => "InvalidRequestException",
        }
    }
}
