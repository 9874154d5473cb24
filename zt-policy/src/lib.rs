//! Cedar policies, evaluated in process: deny by default, errors fail closed.
