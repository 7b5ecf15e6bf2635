import Glibc

/// Ends the process at once.
///
/// Not by `exit`: that takes libraries apart (OpenSSL frees what its connections use) while threads of ours may still close
/// what they had open, and now and then a command that had done its work ended with SIGSEGV.
func end(_ code: Int32) -> Never {
    fflush(nil)
    _exit(code)
}
