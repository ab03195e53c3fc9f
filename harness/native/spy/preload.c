/**
 * @file
 * @brief For LD_PRELOAD: whether the program itself or one of its libraries made a call.
 *
 * A preloaded library also replaces the functions that other libraries call. Their calls are recorded as
 * foreign, and rules do not match them.
 */
#include "spy.h"

static uintptr_t image_end;

static int read_segments(struct dl_phdr_info *info, size_t size, void *closure)
{
    (void)size, (void)closure;
    image_base = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && info->dlpi_addr + segment->p_vaddr + segment->p_memsz > image_end)
            image_end = info->dlpi_addr + segment->p_vaddr + segment->p_memsz;
        if (segment->p_type == PT_PHDR && !info->dlpi_addr)
            image_base = (segment->p_vaddr - segment->p_offset) & ~(uintptr_t)4095;
    }
    return 1; /* stop: the first object is the program itself */
}

static void find_image(void)
{
    dl_iterate_phdr(read_segments, NULL);
}

static bool called_by_program(uintptr_t caller)
{
    return caller >= image_base && caller < image_end;
}
