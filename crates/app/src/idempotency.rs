//! Same key, same request, same answer.
