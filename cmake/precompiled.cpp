// The target that owns the precompiled header (Compile.cmake) needs a source file.
