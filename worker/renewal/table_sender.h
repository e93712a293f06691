#pragma once

// The old side of a hand-over: a worker that has parked sends its table and waits on the service word. Owns
// its end of the socket. If the process dies in here: its standby settles, withdraws the attempt and serves;
// the image finds the word changed and exits. Source: worker/renewal/table_wire.h.

#include <optional>

#include "daemon/base/unique_fd.h"
#include "worker/image.h"
#include "worker/renewal/table_wire.h"

namespace tcpd::worker {

class TableSender {
public:
    TableSender(Image& image, uint32_t attempt, UniqueFd socket);
    // Why the attempt is over: the word names this image again, and it is to go on. Nothing: the word names
    // another one, and the process is to exit.
    std::optional<slot::HandOverEnd> run();

private:
    using End = std::optional<slot::HandOverEnd>;
    End send_all();
    End send(const void* bytes, size_t length, const int32_t* descriptors, size_t count);
    End await_word();
    void beat();

    Image& image_;
    UniqueFd socket_;
    slot::ServiceWord word_;
    HandOverWatch watch_;
};

}  // namespace tcpd::worker
