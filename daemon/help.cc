#include "daemon/help.h"

#include <ev.h>
#include <fmt/core.h>
#include <gnu/libc-version.h>
#include <spdlog/version.h>

#include "daemon/base/version.h"
#include "master/reexec/trial.h"

namespace tcpd {

std::string help_text() {
    return R"(tcpd serves TCP from a YAML file; no connection dies with its worker.

  tcpd [-c FILE] [-t | -T] [--notify-fd N] [--log-level LEVEL]
  tcpd [-c FILE] -s VERB [--timeout DURATION]
  tcpd --decode FRAMING [--raw | --hex] [-c FILE]

  -c FILE            the configuration (without it: /etc/tcpd/tcpd.yaml)
  -t                 check the configuration, say all that is wrong, and exit
  -T                 print the configuration in full, defaults filled in
  -s VERB            ask the tcpd that runs with FILE, wait for the outcome:
                       reload   put the configuration into force (as HUP)
                       upgrade  run the program now on disk (as USR2)
                       reopen   open the log anew (as USR1)
                       drain    accept nothing more until a reload (as WINCH)
                       status   listeners, connections, workers
                       stop     drain and exit (as the signal TERM does)
  --timeout DURATION wait so long for the outcome of -s (0: for ever; without it
                     status, reopen: 10s; reload, upgrade: 2m; drain, stop:
                     drain.stop and 30s); what was begun goes on behind it
  --decode FRAMING   cut the bytes on standard input (or a hex dump of them)
                     into frames: raw, line, tcpd, or one that FILE declares
  --raw, --hex       with --decode: standard input is bytes; is a hex dump
  --notify-fd N      write a newline to descriptor N once ready (s6)
  --log-level LEVEL  trace, debug, info, warn, error, critical or off
  -V, --version      version, libraries, what was compiled in
  -h, --help         this text

  tcpd -c echo.yaml             serve in the foreground; Ctrl-C stops it
  tcpd -t -c echo.yaml          is the file right?
  tcpd -s status -c echo.yaml   who is connected, and to which worker?
  tcpd --decode mine -c f.yaml <dump   where do my frames begin and end?

Exits with 0 fine, 64 bad usage, 65 bytes that do not decode, 69 no such tcpd
runs, 71 refused, or no answer in time, 78 bad configuration. Examples of FILE:
/usr/share/doc/tcpd-server/examples, or conf/examples in the source.
)";
}

std::string version_text() {
    using fmt::format;
    std::string text = format("tcpd {}\n", kVersion);
    text += format("compiler: g++ {}, {}\n", __VERSION__, kBuildType);
    text += format("libraries: libev {}.{}, yaml-cpp {}, spdlog {}.{}.{}, fmt {}.{}.{}, glibc {}\n",
                   ev_version_major(), ev_version_minor(), kYamlCppVersion, SPDLOG_VER_MAJOR,
                   SPDLOG_VER_MINOR, SPDLOG_VER_PATCH, FMT_VERSION / 10000, FMT_VERSION / 100 % 100,
                   FMT_VERSION % 100, gnu_get_libc_version());
    text += master::formats_line() + "\n";
    text += format("fault points: {}\n", kFaultPoints ? "compiled in (test build)" : "no");
    text += format("sanitizers: {}\n", *kSanitizers ? kSanitizers : "no");
    return text;
}

}  // namespace tcpd
