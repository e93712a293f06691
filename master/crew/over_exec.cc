// What the crew takes over an exec of the master.

#include <algorithm>

#include "daemon/base/log.h"
#include "master/crew/crew.h"
#include "master/reexec/reexec.h"

namespace tcpd::master {

namespace {

Result<std::unique_ptr<Generation>> restore(const SavedGeneration& saved) {
    auto generation = std::make_unique<Generation>();
    generation->number = saved.number;
    generation->program.reset(saved.program_fd);
    generation->bundle.reset(saved.bundle_fd);
    generation->level = saved.level;
    generation->log_level = static_cast<log::Level>(saved.log_level);
    generation->roster = saved.roster;
    auto config = read_config(saved.bundle_fd);
    if (!config) return std::move(config.error());
    generation->config = std::move(*config);
    return generation;
}

}  // namespace

SavedCrew Crew::save() const {
    SavedCrew saved{.slots = std::vector<SavedSlot>(held_.size()),
                    .supervisor = supervisor_.save(),
                    .children = children_.all(),
                    .names = names_,
                    .generations = {},
                    .current = current_,
                    .last_generation = last_generation_,
                    .previous = previous_,
                    .previous_until_ns = previous_until_ns_,
                    .retired = retired_.all()};
    for (size_t i = 0; i < held_.size(); ++i) {
        saved.slots[i].generation = slot_generation_[i];
        saved.slots[i].is_held_back = own_[i].held_back;
        if (held_[i]) held_[i]->save(saved.slots[i]);
    }
    for (const auto& [number, generation] : generations_) {
        saved.generations.push_back({number, generation->program.get(), generation->bundle.get(),
                                     static_cast<uint32_t>(generation->log_level), generation->roster,
                                     generation->level});
    }
    return saved;
}

Result<std::unique_ptr<Crew>> Crew::take_over(const CrewOutfit& outfit, slot::SharedCounts counts,
                                              const SavedCrew& saved, CrewEvents& owner) {
    Generations generations;
    for (const SavedGeneration& one : saved.generations) {
        auto restored = restore(one);
        if (!restored) return std::move(restored.error());
        generations[one.number] = std::move(*restored);
    }
    const auto current = generations.find(saved.current);
    if (current == generations.end() || saved.slots.size() != saved.supervisor.slots.size()) {
        return Error{ErrorCode::bad_format, "take over the slots", "", 0,
                     "what is left of them does not fit"};
    }
    auto first = std::move(current->second);
    generations.erase(current);
    std::unique_ptr<Crew> crew(new Crew(outfit, std::move(counts), std::move(first), owner));
    crew->generations_.merge(generations);
    crew->names_ = saved.names;
    crew->last_generation_ = saved.last_generation;
    crew->previous_ = saved.previous;
    crew->previous_until_ns_ = saved.previous_until_ns;
    crew->supervisor_.take_over(saved.supervisor, monotonic_ns());
    crew->children_.take_over(saved.children);
    crew->retired_.take_over(saved.retired);
    for (uint32_t i = 0; i < saved.slots.size(); ++i) {
        crew->slot_generation_[i] = saved.slots[i].generation;
        crew->own_[i].held_back = saved.slots[i].is_held_back;
        if (!saved.slots[i].is_held) continue;
        auto held = HeldSlot::take_over(outfit.loop, i, saved.slots[i], outfit.log, *crew);
        if (!held) return std::move(held.error());
        crew->held_[i] = std::move(*held);
    }
    crew->publish_level();
    return crew;
}

}  // namespace tcpd::master
