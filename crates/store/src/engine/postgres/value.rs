//! Parameters in PostgreSQL's binary form.

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::sql::{Column, Param};

impl ToSql for Param<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Int(Some(value)) => match *ty {
                Type::INT8 => value.to_sql(ty, out),
                Type::INT4 => i32::try_from(*value)?.to_sql(ty, out),
                _ => Err(mismatch("an integer", ty)),
            },
            Self::Text(Some(value)) => match *ty {
                Type::TEXT | Type::VARCHAR => value.as_ref().to_sql(ty, out),
                _ => Err(mismatch("text", ty)),
            },
            Self::Bytes(Some(value)) => match *ty {
                Type::BYTEA => value.to_sql(ty, out),
                _ => Err(mismatch("bytes", ty)),
            },
            Self::Int(None) | Self::Text(None) | Self::Bytes(None) => Ok(IsNull::Yes),
        }
    }

    fn accepts(_: &Type) -> bool {
        true // the value decides, in `to_sql`
    }

    to_sql_checked!();
}

impl ToSql for Column<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, ty) {
            (Self::Ints(values), &Type::INT8_ARRAY) => values.to_sql(ty, out),
            (Self::Texts(values), &Type::TEXT_ARRAY) => values.to_sql(ty, out),
            (Self::Blobs(values), &Type::BYTEA_ARRAY) => values.to_sql(ty, out),
            _ => Err(mismatch("a column of values", ty)),
        }
    }

    fn accepts(_: &Type) -> bool {
        true // the values decide, in `to_sql`
    }

    to_sql_checked!();
}

fn mismatch(given: &str, wanted: &Type) -> Box<dyn Error + Sync + Send> {
    format!("the statement wants {wanted} and was given {given}").into()
}
