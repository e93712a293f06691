#pragma once

// From YAML to a Config: all that is wrong in one run, each with its place. Every process; the only place
// where yaml-cpp's exceptions can arise, and they stop here. Owns memory only: a death in here leaves nothing
// behind. Source: tcpd.yaml(5).

#include <string>
#include <string_view>
#include <vector>

#include "conf/config.h"
#include "conf/source.h"
#include "daemon/base/error.h"

namespace tcpd::conf {

// `FILE:LINE:COLUMN: listeners.gateway.timeouts.idle: "5 parsec" is not a duration (try 5s, 500ms, 2m)`
struct Problem {
    std::string file;
    int line = 0, column = 0;  // from 1; 0: the file as a whole
    std::string key_path;      // empty: the document
    std::string message;
    std::string text() const;
};

struct Loaded {
    Config config;                  // whole only if there are no problems
    std::vector<Problem> problems;  // in the order of files and lines
    std::vector<std::string> warnings;
};

// What a configuration is read for.
enum class Purpose {
    serve,
    // A look at the file, perhaps where a service manager has not made its folders yet, and by another user than the
    // one that will serve: what is not there is a warning, and nothing is said about the process.
    check,
    cut_frames,  // its framings alone matter: it needs no listener, and the machine is not asked
};

// Reads `path` (absolute), what it includes and the files of tokens through `source`; asks the machine
// itself, for the users and folders that are named, only if the source is live.
Loaded load(Source& source, const std::string& path, Purpose purpose = Purpose::serve);
// What a bundle holds (source.h). An Error: it can't be read; problems of the text are no Error here either.
Result<Loaded> load_bundle(int fd);

// The configuration in full, every default filled in, with comments that name units; `load` reads it back as
// the same.
std::string dump(const Config& config);

}  // namespace tcpd::conf
