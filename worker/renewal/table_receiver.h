#pragma once

// The new side of a hand-over: an image that has started up in full takes over the table of the worker in
// service, each descriptor at the number that it has there, since records, epoll registrations and pristine
// memory name them so. It only reads slot memory. Own sockets that stand in the way are moved first. If the
// process dies in here, its end of the socket is closed: the worker withdraws the attempt and goes on.
// Source: worker/renewal/table_wire.h; open(2), "lowest-numbered file descriptor".

#include <optional>

#include "worker/image.h"
#include "worker/renewal/table_wire.h"

namespace tcpd::worker {

// Where the socket of the hand-over lies meanwhile, out of the way of all connections.
using slot::kHandOverFd;

class TableReceiver {
public:
    explicit TableReceiver(Image& image) : image_(image) {}
    // Waits for the order, then for the table. A reason: the image is to exit. The master's end does not
    // return.
    std::optional<slot::HandOverEnd> receive();

private:
    using End = std::optional<slot::HandOverEnd>;
    End await_order();
    End receive_all(const HandOverWatch& watch);
    End receive_head(const HandOverWatch& watch);
    End receive_batch(const HandOverWatch& watch, size_t at, size_t count);
    // Descriptors land at the lowest free numbers. Nothing: they are there.
    struct Room {
        void* bytes;
        size_t least, most;
    };
    End receive_message(const HandOverWatch& watch, Room room_for, int32_t* landed, size_t count);
    End check_level() const;
    End check_listeners() const;
    End check_room();
    bool clear_the_way();
    bool move_away(int32_t& fd);
    bool plug_holes();
    void unplug() const;
    bool is_expected(int32_t fd) const;

    Image& image_;
    std::vector<int32_t> numbers_;  // of the connections to come
    std::vector<int32_t> plugs_;
};

// Once the image has committed, or will not.
void leave_hand_over();

}  // namespace tcpd::worker
