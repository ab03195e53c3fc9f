/**
 * @file
 * @brief API cards: System V shared memory.
 */
/**
 * @defgroup api_sysv System V shared memory
 * @brief Segments that are named by a key.
 * @{
 */

/**
 * @brief Makes a key from a file and a number.
 *
 * @param path  a file
 * @param id    a number
 * @return      the key, or -1
 *
 * @par Errors
 * - `ENOENT`: there is no such file.
 *
 * @see ftok(3), ftok(3p)
 */
key_t ftok(const char *path, int id);

/** @} */
